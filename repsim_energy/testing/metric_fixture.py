"""A metric and some networks to try it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.interfaces import Activations, FilterBank, Metric, PatchBasis
from repsim_energy.numerics.patches.moments import patch_moments

__all__ = ["CHANGES", "IMAGES", "MetricFixture"]

Array = NDArray[np.float64]

IMAGES, UNITS = 60, 12
"""What networks are shown, and how many filters or features they have."""


def _turned(units: Tensor) -> Tensor:
    square = torch.randn(len(units), len(units), generator=_generator(5), dtype=torch.float64)
    turn: Tensor = torch.linalg.qr(square)[0]
    return turn.to(units) @ units


def _stretched(units: Tensor) -> Tensor:
    return units * torch.linspace(0.1, 9, len(units)).to(units)[:, None]


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "permutation": lambda units: units.flip(0),
    "scale": lambda units: 3 * units,
    "orthogonal": _turned,
    "translation": lambda units: units + torch.arange(1.0, len(units) + 1).to(units)[:, None],
    "linear": _stretched,
}
"""Invariances, as changes of units (filters or features, a row each)."""


@dataclass(frozen=True, eq=False)
class MetricFixture:
    """A metric and three pairs of alike units to try it on."""

    metric: Metric

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Return networks that are somewhat alike, as (units, inputs or images)."""
        return [_pair(seed, self._width) for seed in range(3)]

    @cached_property
    def _basis(self) -> PatchBasis:
        images = torch.randn(40, 3, 12, 12, generator=_generator(9), dtype=torch.float64)
        return patch_moments(images.cumsum(2).cumsum(3), (3, 3)).basis()

    @property
    def _width(self) -> int:
        return 27 if self.metric.operates_on == "filters" else IMAGES

    def subject(self, units: Tensor) -> FilterBank | Activations:
        """Return what shows (units, inputs) filters or (units, images) features to the metric."""
        if self.metric.operates_on == "filters":
            return FilterBank(units, self._basis)
        return Activations(units.T.contiguous())

    def represent(self, units: Tensor) -> Array:
        """Return a representation, stacked of two batches where the metric wants batches."""
        batch = getattr(self.metric, "batch", None)
        if batch is None:
            return self.metric.represent(self.subject(units))
        parts = [self.metric.represent(self.subject(part)) for part in units.chunk(2, dim=1)]
        return np.stack(parts)

    def value(self, a: Tensor, b: Tensor) -> float:
        """Return what the metric says of two networks."""
        return float(self.metric.compare(self.represent(a), self.represent(b)))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pair(seed: int, width: int) -> tuple[Tensor, Tensor]:
    a, noise = torch.randn(2, UNITS, width, generator=_generator(seed), dtype=torch.float64)
    scale = torch.linspace(2, 0.1, width).double()
    return (a * scale).float(), ((0.5 * a + noise) * scale).float()
