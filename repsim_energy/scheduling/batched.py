"""The seeds of one model as one batched network, on a device that a single one leaves idle."""

from __future__ import annotations

import torch

from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.scheduling.tasks import Key, Outcomes, Tasks
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.runs import make_runs_together

__all__ = ["make_batched"]


def make_batched(tasks: Tasks, device: torch.device, at_once: int | None = None) -> Outcomes:
    """Make the runs that differ in their seed alone together; yield each when it is kept.

    Left out, for the caller to make one by one, is what is not cached, what stands alone, and
    architectures that cannot be batched or do not fit into memory together.

    Parameters
    ----------
    at_once : networks in a batch at most; ``None`` takes all seeds
    """
    groups: dict[tuple[ModelSpec, Dataset, Recipe], dict[int, Key]] = {}
    for key, (spec, data, seed, recipe) in tasks.items():
        if spec.identity is not None:
            groups.setdefault((spec, data, recipe), {})[seed] = key
    for (spec, data, recipe), keys in groups.items():
        seeds = list(keys)
        step = at_once or len(seeds)
        for start in range(0, len(seeds), step):
            together = seeds[start : start + step]
            if len(together) < 2:
                continue
            try:
                outcomes = make_runs_together(spec, data, together, recipe, device)
            except NETWORK_ERRORS:
                continue
            for seed, error in outcomes.items():
                yield keys[seed], error
