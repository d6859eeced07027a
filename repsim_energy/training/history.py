"""Course of a training, and its record while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import TrainingError
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


@dataclass(eq=False)
class Record:
    """A history that is being written, and when to write what.

    Parameters
    ----------
    recipe : how the network trains
    images : how many training images there are
    snapshots : step -> filters of the first layer
    scales : step -> (k,) factors of the batch norm that follows it, where there is one
    losses, hits : of each step, left on the device, so that nothing waits for them
    evaluations : step -> loss and accuracy on the test images
    """

    recipe: Recipe
    images: int
    snapshots: dict[int, Tensor] = field(default_factory=dict)
    scales: dict[int, Tensor] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)
    hits: list[Tensor] = field(default_factory=list)
    evaluations: dict[int, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay down the steps after which something is kept."""
        self.total = self.recipe.total_steps(self.images)
        self._epoch = max(1, self.images // self.recipe.batch)
        count, asked = self.recipe.snapshots, self.recipe.evaluations
        spaced = np.geomspace(1, self.total, max(1, count)).round()[:count]
        self._kept = {int(step) for step in spaced}
        self._asked = {round(self.total * (i + 1) / asked) for i in range(asked)}

    def keep(self, filters: Tensor, scale: Tensor | None) -> None:
        """Keep the filters after this step, and the factors of the batch norm that follows."""
        self.snapshots[self.steps] = filters
        if scale is not None:
            self.scales[self.steps] = scale

    def add(self, loss: Tensor, hit: Tensor) -> None:
        """Write down a step: its loss, and the share classified right before it."""
        self.losses.append(loss)
        self.hits.append(hit)

    @property
    def steps(self) -> int:
        """The steps taken."""
        return len(self.losses)

    @property
    def wants_filters(self) -> bool:
        """Whether the filters are kept after this step."""
        return self.steps in self._kept

    @property
    def wants_evaluation(self) -> bool:
        """Whether the test images are evaluated after this step."""
        return self.steps in self._asked

    def finished(self) -> bool:
        """Return whether this was the last step; only the end of an epoch waits for the device.

        Raises
        ------
        TrainingError
            Where the loss has become infinite or NaN.
        """
        if self.steps % self._epoch == 0:
            self._check(self.losses[-self._epoch :])
            wanted = self.recipe.until_accuracy
            if wanted is not None and self._train_accuracy() >= wanted:
                return True
        return self.steps == self.total

    def history(self) -> History:
        """Return what was written."""
        self._check(self.losses)
        scales = list(self.scales.values())
        return History(
            steps=self.steps,
            loss=torch.stack(self.losses).float().cpu(),
            accuracy=torch.stack(self.hits).float().cpu(),
            train_accuracy=self._train_accuracy(),
            snapshots=torch.stack(list(self.snapshots.values())),
            snapshot_steps=torch.tensor(list(self.snapshots)),
            snapshot_scales=torch.stack(scales) if scales else None,
            evaluations=torch.tensor(list(self.evaluations.values())).view(-1, 2),
            evaluation_steps=torch.tensor(list(self.evaluations), dtype=torch.int64),
        )

    def _train_accuracy(self) -> float:
        return float(torch.stack(self.hits[-self._epoch :]).float().cpu().mean())

    def _check(self, losses: list[Tensor]) -> None:
        if not torch.isfinite(torch.stack(losses)).all():
            lr = self.recipe.lr
            raise TrainingError(
                f"the loss became infinite or NaN at lr={lr:g}, expected a finite one; "
                f"lower it, such as recipe=quick:lr={lr / 10:g}"
            )
