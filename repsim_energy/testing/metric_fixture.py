"""Random filter banks and activations that metrics are checked on."""

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

IMAGES, FEATURES = 60, 12
"""Number of images, and of filters or features of a network."""


def _rotated(features: Tensor) -> Tensor:
    square = torch.randn(len(features), len(features), generator=_generator(5), dtype=torch.float64)
    rotation: Tensor = torch.linalg.qr(square)[0]
    return rotation.to(features) @ features


def _rescaled(features: Tensor) -> Tensor:
    return features * torch.linspace(0.1, 9, len(features)).to(features)[:, None]


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "permutation": lambda features: features.flip(0),
    "scale": lambda features: 3 * features,
    "orthogonal": _rotated,
    "translation": lambda features: (
        features + torch.arange(1.0, len(features) + 1).to(features)[:, None]
    ),
    "linear": _rescaled,
}
"""Invariance -> change of a matrix whose rows are filters or features."""


@dataclass(frozen=True, eq=False)
class MetricFixture:
    """Metric with three pairs of similar networks.

    A network is a matrix: (filters, inputs) for a metric on filters, (features, images) for a
    metric on activations.
    """

    metric: Metric

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Three pairs of similar networks."""
        return [_pair(seed, self._width) for seed in range(3)]

    @cached_property
    def _basis(self) -> PatchBasis:
        images = torch.randn(40, 3, 12, 12, generator=_generator(9), dtype=torch.float64)
        return patch_moments(images.cumsum(2).cumsum(3), (3, 3)).basis()

    @property
    def _width(self) -> int:
        return 27 if self.metric.operates_on == "filters" else IMAGES

    def subject(self, features: Tensor) -> FilterBank | Activations:
        """Return a network as input of the metric."""
        if self.metric.operates_on == "filters":
            return FilterBank(features, self._basis)
        return Activations(features.T.contiguous())

    def represent(self, features: Tensor) -> Array:
        """Return a representation; a metric with batches gets two of them."""
        batch = getattr(self.metric, "batch", None)
        if batch is None:
            return self.metric.represent(self.subject(features))
        parts = [self.metric.represent(self.subject(part)) for part in features.chunk(2, dim=1)]
        return np.stack(parts)

    def value(self, a: Tensor, b: Tensor) -> float:
        """Return the value of the metric for two networks."""
        return float(self.metric.compare(self.represent(a), self.represent(b)))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pair(seed: int, width: int) -> tuple[Tensor, Tensor]:
    a, noise = torch.randn(2, FEATURES, width, generator=_generator(seed), dtype=torch.float64)
    scale = torch.linspace(2, 0.1, width).double()
    return (a * scale).float(), ((0.5 * a + noise) * scale).float()
