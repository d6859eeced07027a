"""Versions of this package and of its dependencies."""

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
"""Declares the dependencies of a source tree that is not installed."""


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of its dependencies.

    Optional dependencies are included if they are installed.
    """
    installed = {"python": platform.python_version(), OWN: version_of(OWN)}
    for name, optional in required().items():
        version = version_of(name)
        if version != NOT_INSTALLED or not optional:
            installed[name] = version
    return installed | {"torch": str(torch.__version__)}  # includes the build, such as +cpu


def required() -> dict[str, bool]:
    """Return the dependencies of this package: distribution -> whether it is optional.

    Examples
    --------
    >>> required()["torch"]
    False
    """
    dependencies: dict[str, bool] = {}
    for line in _declared():
        name = re.split(r"[^\w.-]", line)[0]
        if name != OWN:
            dependencies.setdefault(name, "extra ==" in line)
    return dependencies


def _declared() -> list[str]:
    try:
        return metadata.requires(OWN) or []
    except metadata.PackageNotFoundError:
        if not PROJECT.is_file():
            return []
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
        declared: list[str] = project["dependencies"]
        return declared
