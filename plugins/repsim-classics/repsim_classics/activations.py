"""The activations of one layer, a row per image, read a few columns at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import repsim_energy as rs
import torch
from numpy.typing import NDArray

__all__ = ["Array", "Rows", "read_rows"]

Array = NDArray[np.float64]

COLUMNS = 4096
"""Features that are made float64 at once; a wide layer is never copied whole."""

ROUNDING = 8.0
"""Steps of the floating-point type by which arithmetic may move an entry of typical size."""


@dataclass(frozen=True, eq=False)
class Rows:
    """(n, d) activations of n images, divided by the largest, so that squares do not overflow.

    Every measure here is the same for activations that are all twice as large.
    """

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Return (images, features)."""
        n, d = self.values.shape
        return n, d

    @cached_property
    def _largest(self) -> float:
        return max(float(self.values.max(initial=0)), -float(self.values.min(initial=0))) or 1.0

    def blocks(self) -> Iterator[Array]:
        """Yield (n, at most COLUMNS) float64."""
        for start in range(0, self.shape[1], COLUMNS):
            block = self.values[:, start : start + COLUMNS].astype(np.float64)
            block /= self._largest
            yield block

    @cached_property
    def rounding(self) -> float:
        """How far an entry may be off because the activations were computed in their type."""
        squares = sum(float(np.vdot(block, block)) for block in self.blocks())
        size = math.sqrt(squares / max(self.values.size, 1))
        return ROUNDING * float(np.finfo(self.values.dtype).eps) * size

    def vary(self) -> bool:
        """Return whether images differ by more than rounding."""
        squares = sum(float(np.square(b - b.mean(0)).sum()) for b in self.blocks())
        return squares > self.values.size * self.rounding**2

    def gram(self, center: Literal["images", "features", "nothing"]) -> Array:
        """Return the (n, n) products of rows.

        Parameters
        ----------
        center : ``images`` takes the mean image from every row, ``features`` takes from each row
            its own mean over all features
        """
        n, d = self.shape
        total, means = np.zeros((n, n)), np.zeros((n, 1))
        if center == "features":
            means = self.values.mean(1, keepdims=True, dtype=np.float64) / self._largest
        for block in self.blocks():
            block -= block.mean(0) if center == "images" else means
            total += block @ block.T
        return total


def read_rows(subject: rs.Activations, metric: str, least: int) -> Rows:
    """Return activations (n, ...) flattened to (n, d), in the order of memory.

    Parameters
    ----------
    metric : its name, for errors
    least : the fewest images it needs

    Raises
    ------
    ShapeError
        For activations with fewer than two axes.
    DataError
        For fewer than ``least`` images, NaN or infinite values.
    """
    rows = rs.flatten_activations(subject.values).cpu()
    if len(rows) < least:
        raise rs.DataError(
            f"got {len(rows)} images, expected at least {least} for {metric}; show more"
        )
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.float() if rows.is_floating_point() else rows.double()
    return Rows(rows.numpy())
