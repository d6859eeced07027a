"""Write a distribution from its templates."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from repsim_energy.errors import UsageError
from repsim_energy.storage import atomic_path

__all__ = ["write_plugin"]

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README-$kind.md",
    "$module.py": "$kind.py",
    "tests/test_$module.py": "test_$kind.py",
}
"""Where each file goes, and which template it is written from."""


def write_plugin(name: str, kind: str, into: Path = Path()) -> list[Path]:
    """Write a plugin with one thing of a kind, and return its files.

    Parameters
    ----------
    name : of the distribution, such as ``my-plugin``; its folder has the same. A ``repsim-`` in
        front is left out of what users type
    kind : model, metric, dataset or variant
    into : the folder that the distribution's own is made in

    Raises
    ------
    UsageError
        For names that Python or pip cannot take, or that are taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(
            f"got plugin name '{name}', expected small letters, digits and single hyphens, such "
            "as my-plugin"
        )
    words = {
        "name": name,
        "module": name.replace("-", "_"),
        "thing": name.removeprefix("repsim-").replace("-", "_"),
        "kind": kind,
    }
    folder = into / name
    if folder.exists():
        raise UsageError(
            f"'{folder}' is there already; choose another name, or another folder with into="
        )
    unusable = keyword.iskeyword(words["thing"]) or not words["thing"].isidentifier()
    if unusable or importlib.util.find_spec(words["module"]) is not None:
        raise UsageError(
            f"got plugin name '{name}', but Python has '{words['module']}' already or cannot call "
            "anything so; choose another name"
        )
    with atomic_path(folder) as temporary:
        for place, template in FILES.items():
            path = temporary / Template(place).substitute(words)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_template(template, words).substitute(words), encoding="utf-8")
    return [folder / Template(place).substitute(words) for place in FILES]


def _template(name: str, words: dict[str, str]) -> Template:
    file = Template(name).substitute(words) + ".txt"
    return Template((resources.files(__package__) / "templates" / file).read_text(encoding="utf-8"))
