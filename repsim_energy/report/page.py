"""The page: sections of results, put into the templates and written to one file."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from repsim_energy.errors import UsageError, visible
from repsim_energy.report.section import Section, section_of
from repsim_energy.results import list_groups, open_result
from repsim_energy.storage import atomic_path, check_writable
from repsim_energy.versions import OWN, version_of

if TYPE_CHECKING:
    import jinja2

__all__ = ["write_report"]

TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    results: xr.Dataset | str | Path | Sequence[xr.Dataset | str | Path],
    path: str | Path,
    *,
    figures: bool = True,
) -> None:
    """Write results as one HTML page that needs no network and no other file.

    The page says in words what was compared and how, and has the table of similarities with their
    null intervals, energy profiles with the images of their components, the runs, provenance, and
    the commands that make results and page again. Numbers can be copied as CSV.

    Parameters
    ----------
    results : results of :func:`repsim_energy.compare`, files of ``repsim compare -o``, or one of
        these
    path : of the page, such as ``report.html``; its folder must exist
    figures : whether to draw the figures of ``repsim_energy.plot``, which need the extra ``plot``

    Raises
    ------
    UsageError
        If there is no result, a result has no similarities, the path cannot be written or is one
        of the results, or Jinja2 or matplotlib (for figures) is not installed.
    FileError
        If a file of results is damaged or of another kind.
    RepsimError
        If writing fails, for example on a full disk. What the path held before is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank, "b": bank**2}, torch.rand(20, 1, 6, 6))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rs.write_report(result, f"{folder}/report.html", figures=False)
    ...     Path(f"{folder}/report.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    single = isinstance(results, xr.Dataset | str | Path)
    given = [results] if single else _listed(results)
    path = Path(path)
    files = [Path(result) for result in given if isinstance(result, str | Path)]
    _refuse_sources(path, files)
    check_writable(path)
    sections = [
        section_of(result, number, source, with_figures=figures)
        for number, (source, result) in enumerate(_opened(given), start=1)
    ]
    command = _command(files, path, figures) if len(files) == len(given) else ""
    page = _render(sections, command)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _listed(results: Any) -> list[Any]:
    """Return the results as a list of at least one."""
    given = list(results) if isinstance(results, Iterable) else [results]
    if not given:
        raise UsageError("got no result, expected results of compare or .nc files; name at least 1")
    return given


def _refuse_sources(path: Path, files: Sequence[Path]) -> None:
    """Refuse to write the page over a result."""
    for file in files:
        if path.exists() and file.exists() and path.samefile(file):
            raise UsageError(
                f"output '{path}' is one of the results, expected another file, such as "
                f"'{path.with_suffix('.html').name}'; nothing is changed"
            )


def _opened(given: Sequence[Any]) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield each result with the name of its file, and of its group in a file of several."""
    for result in given:
        if isinstance(result, str | Path):
            name = Path(result).name
            groups = list_groups(result)
            for group in groups:
                yield f"{name}, {group}", open_result(result, group)
            if not groups:
                yield name, open_result(result)
        elif isinstance(result, xr.Dataset):
            yield "", result
        else:
            raise UsageError(
                f"got a result of type {type(result).__name__}, expected the xarray.Dataset that "
                "compare returns or the path of a .nc file"
            )


def _command(files: Sequence[Path], path: Path, figures: bool) -> str:
    names = [file.name for file in files]
    option = [] if figures else ["--no-figures"]
    return shlex.join(["repsim", "report", *names, *option, "-o", path.name])


def _render(sections: Sequence[Section], command: str) -> str:
    """Return the page as text."""
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    environment = _environment()
    return environment.get_template("page.html").render(
        sections=sections,
        command=command,
        version=version_of(OWN),
        style=_literal(style),
        script=_literal(script),
        script_hash=_hash(script),
        data=_literal(_as_json([section.data for section in sections])),
    )


def _environment() -> jinja2.Environment:
    """Return templates that escape every text, and fail on a name that is not there."""
    try:
        import jinja2
    except ImportError as error:
        raise UsageError(
            "reports need Jinja2, which is not installed; pip install 'repsim-energy[report]'"
        ) from error
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
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
