"""An experiment by its names; what it needs is imported when it is run."""

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
    """One row of the reproduction.

    Parameters
    ----------
    module : the module whose function ``run(setting) -> Outcome`` it is
    names : the tables and figures it makes, the first of which names its files
    title : what it shows
    uses : the options of ``repsim reproduce`` that make a difference to it
    """

    module: str
    names: tuple[str, ...]
    title: str
    uses: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name of its files."""
        return self.names[0]

    def run(self, setting: Setting) -> Outcome:
        """Run it."""
        run: Callable[[Setting], Outcome] = importlib.import_module(self.module).run
        return run(setting)
