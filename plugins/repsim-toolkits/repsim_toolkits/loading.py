"""Import a toolkit when it is used, and say in one line what was found in its place."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from types import ModuleType

import repsim_energy as rs

__all__ = ["load"]


def load(module: str, *names: str, toolkit: str, remedy: str) -> ModuleType:
    """Return a toolkit's module after a look at what is needed of it.

    Three unrelated projects are imported as ``repsim``, and ``similarity`` is a common word: that
    a module can be imported does not say whose it is.

    Parameters
    ----------
    module : the dotted name to import
    names : what it must have
    toolkit : what was expected, in words
    remedy : how to get it

    Raises
    ------
    repsim_energy.UsageError
        Where it is missing, cannot be imported, or is another project.
    """
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever a toolkit that does not fit this environment raises
        reason = f"cannot import {module} ({str(error) or type(error).__name__})"
    else:
        missing = [name for name in names if not hasattr(found, name)]
        if not missing:
            return found
        reason = f"{module} has no {', '.join(missing)}"
    top = module.partition(".")[0]
    raise rs.UsageError(f"{reason}; {_owner(top)}, expected {toolkit}; {remedy}")


def _owner(top: str) -> str:
    """Say which project a top-level module belongs to."""
    spec = importlib.util.find_spec(top)
    if spec is None:
        return f"no module '{top}' is installed"
    for name in metadata.packages_distributions().get(top, []):
        about = metadata.metadata(name)
        return f"module '{top}' is {name} {about['Version']} ({about['Summary']})"
    place = spec.origin or next(iter(spec.submodule_search_locations or []), "an unknown place")
    return f"module '{top}' is at {place}"
