"""The runs of a plan that are missing, and those that others can be told to make."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.runs import is_cached

__all__ = ["Task", "missing_runs", "that_others_can_make"]

Task = tuple[ModelSpec, Dataset, int, Recipe]
"""What one run is made of."""


def missing_runs(plan: Plan) -> dict[Key, Task]:
    """Return the runs that have to be trained, because the cache does not hold them."""
    tasks = {
        (d, m, s): (plan.models[m], plan.datasets[d], plan.seeds[s], plan.recipe)
        for d, m, s in plan.keys
        if (d, m) not in plan.trained
    }
    return {key: task for key, task in tasks.items() if not is_cached(*task)}


def that_others_can_make(tasks: Mapping[Key, Task]) -> dict[Key, Task]:
    """Return the runs that another process can be told to make and can hand over."""
    told = {spec: _can_be_told(spec) for spec, *_ in tasks.values()}
    return {key: task for key, task in tasks.items() if told[task[0]]}


def _can_be_told(spec: ModelSpec) -> bool:
    if spec.identity is None:  # not cached, and the cache is how a run is handed over
        return False
    try:
        pickle.dumps(spec)
    except (pickle.PicklingError, AttributeError, TypeError):  # code that only this process knows
        return False
    return True
