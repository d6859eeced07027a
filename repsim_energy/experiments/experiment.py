"""Entries of experiments, whose modules are imported when they run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from repsim_energy.errors import unknown_name

if TYPE_CHECKING:
    from repsim_energy.experiments.outcome import Outcome
    from repsim_energy.experiments.setting import Setting

__all__ = ["TRAINING", "Experiment", "select_experiments"]

TRAINING = "seeds recipe device scheduler jobs"
"""Options used by experiments that train networks."""


@dataclass(frozen=True)
class Experiment:
    """Experiment that writes rows, figures and results.

    Parameters
    ----------
    module : module with a function ``run(setting) -> Outcome``
    names : tables and figures that it reproduces; the first one names its files
    title : description for the report
    uses : options of ``reproduce`` and ``experiment`` that affect it
    recipes : scale -> its default recipe, where that is not the scale's
    """

    module: str
    names: tuple[str, ...]
    title: str
    uses: frozenset[str] = frozenset()
    recipes: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """Name of its files."""
        return self.names[0]

    def with_recipe(self, setting: Setting) -> Setting:
        """Return the setting with the experiment's own recipe, unless the user has given one."""
        own = self.recipes.get(setting.scale.name)
        return (
            setting if own is None or not setting.default_recipe else replace(setting, recipe=own)
        )

    def run(self, setting: Setting) -> Outcome:
        """Import the module and run it."""
        run: Callable[[Setting], Outcome] = importlib.import_module(self.module).run
        return run(setting)


def select_experiments(names: Sequence[str], experiments: Sequence[Experiment]) -> list[Experiment]:
    """Return the experiments with these names, each once. ``all`` selects every experiment.

    Raises
    ------
    UsageError
        For an unknown name.

    Examples
    --------
    >>> from repsim_energy.experiments.paper import EXPERIMENTS
    >>> chosen = select_experiments(["fig3", "table2", "fig4"], EXPERIMENTS)
    >>> [experiment.name for experiment in chosen]
    ['table2', 'fig4']
    """
    known = {name: experiment for experiment in experiments for name in experiment.names}
    for name in names:
        if name not in (*known, "all"):
            raise unknown_name("table or figure", name, [*known, "all"])
    if "all" in names:
        return list(experiments)
    return list(dict.fromkeys(known[name] for name in names))
