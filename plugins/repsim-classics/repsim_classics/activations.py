"""Activations of one layer, converted to float64 a few columns at a time."""

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

BLOCK_COLUMNS = 4096
"""Features that are converted to float64 at once, so that a wide layer is not copied as a whole."""

ROUNDING_STEPS = 8.0
"""Rounding of an entry of typical size, in units of the precision of its floating-point type."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Activations of n images, with one row per image.

    They are divided by the largest absolute value, so that squares do not overflow. No measure here
    depends on such a factor.

    Parameters
    ----------
    values : (n, d) float32 or float64
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
        """Yield float64 blocks (n, d') of at most ``BLOCK_COLUMNS`` features."""
        for start in range(0, self.shape[1], BLOCK_COLUMNS):
            block = self.values[:, start : start + BLOCK_COLUMNS].astype(np.float64)
            block /= self._largest
            yield block

    @cached_property
    def rounding(self) -> float:
        """Rounding error of an entry in the floating-point type of the activations."""
        squares = sum(float(np.vdot(block, block)) for block in self.blocks())
        size = math.sqrt(squares / max(self.values.size, 1))
        return ROUNDING_STEPS * float(np.finfo(self.values.dtype).eps) * size

    def vary(self) -> bool:
        """Return True if the images differ by more than rounding."""
        squares = sum(float(np.square(b - b.mean(0)).sum()) for b in self.blocks())
        return squares > self.values.size * self.rounding**2

    def gram(self, center: Literal["images", "features", "nothing"]) -> Array:
        """Return the (n, n) inner products of rows.

        Parameters
        ----------
        center : ``images`` subtracts the mean over images from each feature, ``features`` subtracts
            from each row its mean over features
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
    if subject.values.ndim < 2:
        raise rs.ShapeError(
            f"activations have shape {tuple(subject.values.shape)}, expected (images, ...); give "
            "each image a row"
        )
    rows = rs.flatten_activations(subject.values).cpu()
    if len(rows) < least:
        raise rs.DataError(
            f"got {len(rows)} images, expected at least {least} for {metric}; show more"
        )
    if rows.dtype not in (torch.float32, torch.float64):
        rows = rows.float() if rows.is_floating_point() else rows.double()
    return Rows(rows.numpy())
