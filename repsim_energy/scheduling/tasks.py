"""What runs are made of, and which others can be told to make."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping

from repsim_energy.errors import TrainingError
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.training.recipe import Recipe

__all__ = ["Key", "Outcomes", "Task", "Tasks", "that_others_can_make"]

Key = tuple[int, int, int]
"""Where a run stands in a sweep: indices of dataset, model and seed."""

Task = tuple[ModelSpec, Dataset, int, Recipe]
"""What one run is made of."""

Tasks = Mapping[Key, Task]

Outcomes = Iterator[tuple[Key, TrainingError | None]]
"""Each run when it is kept, or why it is not."""


def that_others_can_make(tasks: Tasks) -> dict[Key, Task]:
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
