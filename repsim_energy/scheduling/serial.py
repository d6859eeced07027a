"""Trainings in this process, one after another."""

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
    """Yield the run of each training, or what went wrong; those in the cache are read."""
    for name, training in trainings.items():
        yield name, collect(training, device, tally)


def collect(training: Training, device: torch.device, tally: Tally) -> Run | TrainingError:
    """Return the run of a training, made now where the cache does not have it, and report it."""
    outcome: Run | TrainingError
    try:
        outcome = training.run(device, partial(tally.step, training))
    except TrainingError as error:
        outcome = error
    tally.end(training, outcome)
    return outcome
