"""Write a distribution from templates."""

from __future__ import annotations

import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from repsim_energy.errors import UsageError
from repsim_energy.files.plain_names import is_plain_name
from repsim_energy.files.storage import atomic_path, make_folder

__all__ = ["write_plugin"]

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README-$kind.md",
    "$module.py": "$kind.py",
    "tests/test_$module.py": "test_$kind.py",
}
"""Path of each file -> its template."""


def write_plugin(name: str, kind: str, into: Path = Path()) -> list[Path]:
    """Write a plugin with one component and return the paths of its files.

    Parameters
    ----------
    name : of the distribution and its folder, such as ``my-plugin``. The component has the same
        name without the prefix ``repsim-``
    kind : model, metric, dataset or variant
    into : parent directory of the new folder

    Raises
    ------
    UsageError
        For names that are taken, or invalid for Python or pip.
    """
    if not (re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) and is_plain_name(name)):
        raise UsageError(
            f"got plugin name '{name[:100]}', expected small letters, digits and single hyphens, "
            "such as my-plugin, and no device of Windows"
        )
    words = {
        "name": name,
        "module": name.replace("-", "_"),
        "thing": name.removeprefix("repsim-").replace("-", "_"),
        "kind": kind,
    }
    folder = make_folder(into, "give another folder with into=") / name
    if folder.exists():
        raise UsageError(
            f"'{folder}' exists already; choose another name, or another folder with into="
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
