"""Results of a sweep of trainings, and the number that have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from repsim_energy.errors import TrainingError
from repsim_energy.progress import Progress, Reporter
from repsim_energy.training.run_cache import Run
from repsim_energy.training.training import Training

__all__ = ["Outcomes", "Tally"]

Name = TypeVar("Name")

Outcomes = Iterator[tuple[Name, Run | TrainingError]]
"""The name of each training with its run or error."""


@dataclass
class Tally:
    """Count of the trainings of a sweep that have ended.

    Parameters
    ----------
    reporter : receives the progress
    total : number of trainings
    """

    reporter: Reporter
    total: int
    ended: int = 0

    def step(self, training: Training, step: int, steps: int) -> None:
        """Report a step of a training, except the last, which :meth:`end` reports."""
        if step < steps:
            self.reporter.progress(
                Progress(training.label, self.ended + 1, self.total, step, steps)
            )

    def end(self, training: Training, outcome: Run | TrainingError) -> None:
        """Report the end of a training. Errors are counted but not reported."""
        self.ended += 1
        if isinstance(outcome, Run):
            steps = outcome.history.steps
            self.reporter.progress(Progress(training.label, self.ended, self.total, steps, steps))
