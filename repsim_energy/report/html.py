"""HTML pages from templates: style, script and data inside, every text escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim_energy.errors import not_installed, visible
from repsim_energy.files.storage import atomic_path
from repsim_energy.versions import OWN, version_of

if TYPE_CHECKING:
    import jinja2

__all__ = ["check_jinja2", "write_page"]

TEMPLATES = Path(__file__).parent / "templates"


def check_jinja2() -> None:
    """Raise ``UsageError`` if Jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise not_installed("reports need Jinja2", "report") from error


def write_page(
    path: Path, template: str, data: Any, *, folders: Sequence[Path] = (), **content: Any
) -> None:
    """Write a page that extends ``layout.html``.

    Parameters
    ----------
    template : name of its template
    data : what the script of the page uses, for JSON
    folders : folders of templates that are not in this package
    content : variables of the template

    Raises
    ------
    UsageError
        If Jinja2 is not installed.
    RepsimError
        If writing fails. What the path held before is unchanged.
    """
    check_jinja2()
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    page = (
        _environment([*folders, TEMPLATES])
        .get_template(template)
        .render(
            version=version_of(OWN),
            style=_literal(style),
            script=_literal(script),
            script_hash=_hash(script),
            data=_literal(_as_json(data)),
            **content,
        )
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _environment(folders: Sequence[Path]) -> jinja2.Environment:
    """Return templates that escape every text, and fail on a name that is not there."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _printable(value: Any) -> Any:
    """Return a text without control characters, such as those that reverse the text behind them."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(map(visible, value.split("\n")))
    return value


def _literal(text: str) -> Any:
    """Return a text that templates do not escape: style, script, or JSON without ``<``."""
    from markupsafe import Markup

    return Markup(text)


def _hash(script: str) -> str:
    """Return the hash by which the page's security policy allows its one script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _as_json(data: Any) -> str:
    """Return JSON that no HTML parser can take for the end of its element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
