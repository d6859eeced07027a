"""Training of several seeds of a model as one batched network, for GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.partial_run import interrupted_batch
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.together import run_together
from repsim_energy.training.training import Training

__all__ = ["run_batched"]

Name = TypeVar("Name")


def run_batched(
    trainings: Mapping[Name, Training],
    device: torch.device,
    tally: Tally,
    at_once: int | None = None,
) -> Outcomes[Name]:
    """Run trainings that differ only in their seed together; yield the run or error of each.

    Skipped are trainings that cannot be cached, single ones, and architectures that cannot be
    batched or do not fit into memory together.

    Parameters
    ----------
    at_once : maximum number of networks in a batch; ``None`` for all seeds
    """
    groups: dict[tuple[ModelSpec, Dataset, Recipe], list[Name]] = {}
    for name, one in trainings.items():
        if one.key:
            groups.setdefault((one.model, one.data, one.recipe), []).append(name)
    for names in groups.values():
        step = at_once or len(names)
        for start in range(0, len(names), step):
            together = names[start : start + step]
            if len(together) < 2 and not interrupted_batch(trainings[together[0]].key):
                continue
            try:
                outcomes = run_together([trainings[name] for name in together], device)
            except NETWORK_ERRORS:
                continue
            for name, outcome in zip(together, outcomes, strict=True):
                tally.end(trainings[name], outcome)
                yield name, outcome
