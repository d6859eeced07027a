"""Course of a training, and its record while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import TrainingError
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.training.recipe import Recipe

__all__ = ["History", "Record"]


@dataclass(frozen=True, eq=False)
class History:
    """Course of a training: losses, accuracies and filters.

    Parameters
    ----------
    steps : number of gradient steps
    loss : (steps,) training loss of each step
    accuracy : (steps,) accuracy on each batch, before the step
    train_accuracy : mean of ``accuracy`` over the last epoch (over all of a shorter training)
    snapshots : (s, k, c, kh, kw) filters of the first layer
    snapshot_steps : (s,) gradient steps after which they were stored
    snapshot_scales : (s, k) factors of the batch norm that follows; ``None`` without one
    evaluations : (e, 2) loss and accuracy on the test images
    evaluation_steps : (e,) gradient steps after which these were measured

    Examples
    --------
    >>> import repsim_energy as rs
    >>> run_id = str(rs.example_result().run_id.values.flat[0])
    >>> history = rs.open_run(run_id).history
    >>> len(history.loss) == history.steps, history.evaluations.shape[1]
    (True, 2)
    """

    steps: int
    loss: Tensor
    accuracy: Tensor
    train_accuracy: float
    snapshots: Tensor
    snapshot_steps: Tensor
    snapshot_scales: Tensor | None
    evaluations: Tensor
    evaluation_steps: Tensor

    __repr__ = short_repr


@dataclass(eq=False)
class Record:
    """History of a training that is going on.

    Parameters
    ----------
    recipe : of the training
    images : number of training images
    tests : number of test images
    snapshots : step -> filters of the first layer
    scales : step -> (k,) factors of the batch norm that follows it, where there is one
    losses, accuracies : of each step, left on the device, so that nothing waits for them
    evaluations : step -> loss and accuracy on the test images
    """

    recipe: Recipe
    images: int
    tests: int
    snapshots: dict[int, Tensor] = field(default_factory=dict)
    scales: dict[int, Tensor] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)
    accuracies: list[Tensor] = field(default_factory=list)
    evaluations: dict[int, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Determine the steps after which filters and evaluations are recorded."""
        self.total = self.recipe.total_steps(self.images)
        self._epoch = max(1, self.images // self.recipe.batch)
        count, asked = self.recipe.snapshots, self.recipe.evaluations if self.tests else 0
        spaced = np.geomspace(1, self.total, max(1, count)).round()[:count]
        self._kept = {int(step) for step in spaced}
        self._asked = {round(self.total * (i + 1) / asked) for i in range(asked)}

    def keep(self, filters: Tensor, scale: Tensor | None) -> None:
        """Record the filters after this step, and the factors of the batch norm that follows."""
        self.snapshots[self.steps] = filters
        if scale is not None:
            self.scales[self.steps] = scale

    def add(
        self,
        loss: Tensor,
        accuracy: Tensor,
        measure: Callable[[], tuple[Tensor, Tensor | None]],
        evaluate: Callable[[], tuple[float, float]],
    ) -> None:
        """Record a gradient step, and filters and evaluation if they are due after it.

        Parameters
        ----------
        loss, accuracy : on the batch, before the step
        measure : returns filters and factors as :meth:`keep` stores them
        evaluate : returns loss and accuracy on the test images
        """
        self.losses.append(loss)
        self.accuracies.append(accuracy)
        if self.steps in self._kept:
            self.keep(*measure())
        if self.steps in self._asked:
            self.evaluations[self.steps] = evaluate()

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self.losses)

    def finished(self) -> bool:
        """Return whether the training has ended. Only the end of an epoch waits for the device.

        Raises
        ------
        TrainingError
            If the loss has become infinite or NaN.
        """
        if self.steps % self._epoch == 0:
            self._check(self._epoch)
            wanted = self.recipe.until_accuracy
            if wanted is not None and self._train_accuracy() >= wanted:
                return True
        return self.steps == self.total

    def history(self) -> History:
        """Return the history of the training, which has ended."""
        self._check(self.steps)
        scales = list(self.scales.values())
        return History(
            steps=self.steps,
            loss=torch.stack(self.losses).float().cpu(),
            accuracy=torch.stack(self.accuracies).float().cpu(),
            train_accuracy=self._train_accuracy(),
            snapshots=torch.stack(list(self.snapshots.values())),
            snapshot_steps=torch.tensor(list(self.snapshots)),
            snapshot_scales=torch.stack(scales) if scales else None,
            evaluations=torch.tensor(list(self.evaluations.values())).view(-1, 2),
            evaluation_steps=torch.tensor(list(self.evaluations), dtype=torch.int64),
        )

    def _train_accuracy(self) -> float:
        return float(torch.stack(self.accuracies[-self._epoch :]).float().cpu().mean())

    def _check(self, last: int) -> None:
        """Refuse a loss that is not finite in one of the last steps."""
        finite = torch.isfinite(torch.stack(self.losses[-last:])).tolist()
        if not all(finite):
            lr, step = self.recipe.lr, self.steps - len(finite) + finite.index(False) + 1
            raise TrainingError(
                f"the loss became infinite or NaN in step {step} at lr={lr:g}, expected a finite "
                f"one; lower it, such as recipe=quick:lr={lr / 10:g}",
                step,
            )

    def state(self) -> dict[str, Any]:
        """Return the record so far, for a file."""
        return {
            "losses": torch.stack(self.losses).cpu(),
            "accuracies": torch.stack(self.accuracies).cpu(),
            "snapshots": self.snapshots,
            "scales": self.scales,
            "evaluations": self.evaluations,
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue a record that :meth:`state` returned."""
        self.losses = list(state["losses"].to(device).unbind())
        self.accuracies = list(state["accuracies"].to(device).unbind())
        self.snapshots, self.scales = state["snapshots"], state["scales"]
        self.evaluations = state["evaluations"]
