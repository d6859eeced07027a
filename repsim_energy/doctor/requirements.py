"""The versions of this package and of everything that it stands on."""

from __future__ import annotations

import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

import torch

from repsim_energy.versions import NOT_INSTALLED, OWN, version_of

__all__ = ["required", "versions"]

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
"""Where a source tree that is not installed states its dependencies."""


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of its dependencies.

    Of optional dependencies, those that are installed.
    """
    found = {"python": platform.python_version(), OWN: version_of(OWN)}
    for name, optional in required().items():
        version = version_of(name)
        if version != NOT_INSTALLED or not optional:
            found[name] = version
    return found | {"torch": str(torch.__version__)}  # which names its build, such as +cpu


def required() -> dict[str, bool]:
    """Return what this package's metadata states: distribution -> whether it is optional.

    Examples
    --------
    >>> required()["torch"]
    False
    """
    found: dict[str, bool] = {}
    for line in _stated():
        name = re.split(r"[^\w.-]", line)[0]
        if name != OWN:
            found.setdefault(name, "extra ==" in line)
    return found


def _stated() -> list[str]:
    try:
        return metadata.requires(OWN) or []
    except metadata.PackageNotFoundError:
        if not PROJECT.is_file():
            return []
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        stated: list[str] = project["dependencies"]
        return stated
