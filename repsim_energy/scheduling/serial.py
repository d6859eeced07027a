"""Trainings in this process, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import torch

from repsim_energy.errors import TrainingError
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.run_cache import Run
from repsim_energy.training.training import Training

__all__ = ["collect", "run_here"]

Name = TypeVar("Name")


def run_here(
    trainings: Mapping[Name, Training], device: torch.device, tally: Tally
) -> Outcomes[Name]:
    """Yield the run of each training, or its error, from the cache or trained in this process."""
    for name, training in trainings.items():
        yield name, collect(training, device, tally)


def collect(training: Training, device: torch.device, tally: Tally) -> Run | TrainingError:
    """Return the run of a training, from the cache or trained now, or its error; report its end."""
    outcome: Run | TrainingError
    try:
        outcome = training.run(device, partial(tally.step, training))
    except TrainingError as error:
        outcome = error
    tally.end(training, outcome)
    return outcome
