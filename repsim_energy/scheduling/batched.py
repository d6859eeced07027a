"""Training of several seeds of a model as one batched network, for GPUs."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch

from repsim_energy.errors import TrainingError
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.partial_run import interrupted_batch
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_cache import Run
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
    batched. If a batch does not fit into memory, it is tried again with half as many networks.

    Parameters
    ----------
    at_once : maximum number of networks in a batch; ``None`` for all seeds
    """
    groups: dict[tuple[ModelSpec, Dataset, Recipe], list[Name]] = {}
    for name, one in trainings.items():
        if one.key:
            groups.setdefault((one.model, one.data, one.recipe), []).append(name)
    for names in groups.values():
        most = at_once or len(names)
        while names:
            together = [trainings[name] for name in names[:most]]
            outcomes: Sequence[Run | TrainingError] = []
            if len(together) > 1 or interrupted_batch(together[0].key):
                try:
                    outcomes = run_together(together, device)
                except torch.OutOfMemoryError:
                    most = len(together) // 2
                except NETWORK_ERRORS:
                    pass
            if 0 < most < len(together):
                gc.collect()  # the memory of the batch that did not fit
                continue
            for name, training, outcome in zip(names, together, outcomes, strict=False):
                tally.end(training, outcome)
                yield name, outcome
            names, most = names[len(together) :], max(1, most)
