"""Entry of an experiment, whose module is imported when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repsim_energy.paper.outcome import Outcome
    from repsim_energy.paper.setting import Setting

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """Experiment of the reproduction.

    Parameters
    ----------
    module : module with a function ``run(setting) -> Outcome``
    names : tables and figures that it reproduces; the first one names its files
    title : description for the report
    uses : options of ``repsim reproduce`` that affect it
    """

    module: str
    names: tuple[str, ...]
    title: str
    uses: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Name of its files."""
        return self.names[0]

    def run(self, setting: Setting) -> Outcome:
        """Import the module and run it."""
        run: Callable[[Setting], Outcome] = importlib.import_module(self.module).run
        return run(setting)
