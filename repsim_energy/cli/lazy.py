"""Modules that import torch, each imported when a command first uses it.

Help and lists start fast for this reason. Write ``lazy.comparison.make_plan``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repsim_energy import cache as cache
    from repsim_energy import comparison as comparison
    from repsim_energy import doctor as doctor
    from repsim_energy import results as results
    from repsim_energy import scheduling as scheduling
    from repsim_energy.experiments import page as page
    from repsim_energy.experiments import report as report
    from repsim_energy.experiments import run as run
    from repsim_energy.experiments import setting as setting
    from repsim_energy.files import array_files as array_files
    from repsim_energy.plot import kinds as kinds
    from repsim_energy.plot import style as style
    from repsim_energy.report import html as html
    from repsim_energy.testing import distribution as distribution
    from repsim_energy.training import stored_runs as stored_runs
    from repsim_energy.visualization import sheet as sheet

__all__ = [
    "array_files",
    "cache",
    "comparison",
    "distribution",
    "doctor",
    "html",
    "kinds",
    "page",
    "report",
    "results",
    "run",
    "scheduling",
    "setting",
    "sheet",
    "stored_runs",
    "style",
]

_FOLDERS = {
    "array_files": "files.",
    "distribution": "testing.",
    "html": "report.",
    "kinds": "plot.",
    "page": "experiments.",
    "report": "experiments.",
    "run": "experiments.",
    "setting": "experiments.",
    "sheet": "visualization.",
    "stored_runs": "training.",
    "style": "plot.",
}


def __getattr__(name: str) -> ModuleType:
    """Import a module of ``__all__``."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return importlib.import_module(f"repsim_energy.{_FOLDERS.get(name, '')}{name}")
