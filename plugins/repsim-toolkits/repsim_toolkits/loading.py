"""Import of a toolkit when it is used, with one line that names a wrong module."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from types import ModuleType

import repsim_energy as rs

__all__ = ["load"]


def load(module: str, *names: str, toolkit: str, remedy: str) -> ModuleType:
    """Import a toolkit's module and check that it has the names that an adapter needs.

    Three unrelated projects are imported as ``repsim``, and ``similarity`` is a common name, so an
    import that succeeds may be another project.

    Parameters
    ----------
    module : the dotted name to import
    names : names that the module must have
    toolkit : description of the expected toolkit, for the error
    remedy : how to install it, for the error

    Raises
    ------
    repsim_energy.UsageError
        If the module is missing, cannot be imported, or belongs to another project.
    """
    try:
        found = importlib.import_module(module)
    except Exception as error:  # toolkits that do not fit this environment raise many types
        reason = f"cannot import {module} ({str(error) or type(error).__name__})"
    else:
        missing = [name for name in names if not hasattr(found, name)]
        if not missing:
            return found
        reason = f"{module} has no {', '.join(missing)}"
    top = module.partition(".")[0]
    raise rs.UsageError(f"{reason}; {_owner(top)}, expected {toolkit}; {remedy}")


def _owner(top: str) -> str:
    """Describe the project of a top-level module."""
    spec = importlib.util.find_spec(top)
    if spec is None:
        return f"no module '{top}' is installed"
    for name in metadata.packages_distributions().get(top, []):
        about = metadata.metadata(name)
        return f"module '{top}' is {name} {about['Version']} ({about['Summary']})"
    place = spec.origin or next(iter(spec.submodule_search_locations or []), "an unknown place")
    return f"module '{top}' is at {place}"
