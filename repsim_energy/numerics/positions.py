"""Positions of activations: which of them become features, and which become samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, float64

__all__ = ["POOLS", "TOKENS", "View"]

POOLS = ("flatten", "mean", "max", "none")
"""Every position a feature, the mean or the maximum over positions, every position a sample."""

TOKENS = ("all", "cls", "mean")
"""Tokens of a sequence that are used: all, the class token alone, or their mean."""


@dataclass(frozen=True)
class View:
    """Choice of positions of a layer's output.

    Parameters
    ----------
    shape : of the output for one image, such as (c, h, w), or (t, d) of tokens
    axis : of the output for a batch that counts the features: 1 for (n, c, h, w), 2 for (n, t, d)
    pool : one of ``POOLS``, for all positions that ``tokens`` leaves
    tokens : one of ``TOKENS``; used for sequences alone, which are (n, t, d) with axis 2

    Examples
    --------
    >>> import torch
    >>> maps, tokens = torch.zeros(5, 8, 4, 4), torch.zeros(5, 17, 12)
    >>> View((8, 4, 4), 1, "mean")(maps).shape, View((8, 4, 4), 1, "none")(maps).shape
    (torch.Size([5, 8]), torch.Size([80, 8]))
    >>> View((17, 12), 2, tokens="cls")(tokens).shape
    torch.Size([5, 12])
    """

    shape: tuple[int, ...]
    axis: int
    pool: str = "flatten"
    tokens: str = "all"

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the chosen positions of (n, ...) activations.

        Rows are images, or all samples of one image after the other. Means are taken in float64.
        """
        if self._one_token:
            if self.tokens == "cls":
                return activations[:, 0]
            return activations.mean(1, dtype=float64).to(activations.dtype)
        if self.pool == "flatten" or not self.positions:
            return activations
        rows = activations.movedim(self.axis, -1).flatten(1, -2)  # (n, positions, features)
        if self.pool == "max":
            return rows.amax(1)
        if self.pool == "mean":
            return rows.mean(1, dtype=float64).to(rows.dtype)
        return rows.flatten(0, 1)

    @property
    def is_sequence(self) -> bool:
        """True for an output of tokens, (n, t, d)."""
        return len(self.shape) == 2 and self.axis == 2

    @property
    def pooled_positions(self) -> tuple[int, ...]:
        """Numbers of positions that ``tokens`` leaves."""
        return () if self._one_token else self.positions

    @property
    def _one_token(self) -> bool:
        return self.is_sequence and self.tokens != "all"

    @property
    def positions(self) -> tuple[int, ...]:
        """Numbers of positions along each axis but that of the features, before the choice."""
        return self.shape[: self.axis - 1] + self.shape[self.axis :] if self.shape else ()

    @property
    def sample_grid(self) -> tuple[int, ...]:
        """Positions of one image that are samples, empty if an image is one sample."""
        each = self.pool == "none" and math.prod(self.pooled_positions) > 1
        return self.positions if each else ()

    @property
    def size(self) -> int:
        """Numbers that are left of the output for one image."""
        pooled = self._one_token or self.pool in ("mean", "max")
        return math.prod(self.shape) // (math.prod(self.positions) if pooled else 1)
