"""Products of features that come in parts: multiplied in float32, added up in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from repsim_energy.errors import DataError

__all__ = ["RowProducts", "as_floating", "fits_float32", "row_lengths", "typical_row"]

MANY = 16_384
"""Numbers from which on rounding to float32 averages out: of features, or of their products."""

BLOCKS, NARROWEST = 8, 128
"""Into how many column blocks a symmetric product is cut at most, and how narrow they may be."""

SETTLED = 16_384
"""Rows that are added up in float32 before their sum goes into float64."""

STRIP = 65_536
"""Entries that are reduced at once, in float64: few enough to stay in the cache."""


def as_floating(features: Tensor) -> Tensor:
    """Return features for float32 products where these are exact enough, else for float64.

    That is where float32 holds the features, and where they are so many that rounding averages
    out. No graph is kept.

    Raises
    ------
    DataError
        For complex features, whose imaginary part would be lost.
    """
    if features.is_complex():
        raise DataError(
            f"features are {features.dtype}, expected real numbers; give torch.view_as_real of them"
        )
    held = features.dtype in (torch.float16, torch.bfloat16, torch.float32)
    narrow = held and features.numel() >= MANY
    return features.detach().to(torch.float32 if narrow else torch.float64)


def fits_float32(lengths: Tensor) -> bool:
    """Return whether third powers of rows of these lengths neither overflow nor vanish."""
    return bool(1e-8 < lengths.max() < 1e10)


def row_lengths(features: Tensor) -> Tensor:
    """Return the Euclidean length (n,) of each row."""
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1)
    return lengths


def typical_row(features: Tensor) -> Tensor:
    """Return about the mean row (d,) of (n, d), exactly so where a column is constant.

    The mean of equal numbers need not be that number, and what would be left of the column
    after subtracting it would look like variance.
    """
    mean, first = features.mean(0), features[0]
    rounding = 64 * torch.finfo(features.dtype).eps
    return torch.where((mean - first).abs() <= rounding * first.abs(), first, mean)


class RowProducts:
    r"""The sum of :math:`A^\top B` over parts (r, d1) and (r, d2) of many rows.

    Parts in float32 are multiplied and added up in float32 for some thousand rows, then in
    float64; all in float64 where there are few products to average over. A symmetric product
    (B is A) is taken by blocks of columns, the upper half alone.

    Parameters
    ----------
    symmetric : whether B is A
    repeated : whether columns hold the same number over and over, such as what centering makes of
        the zeros behind a ReLU. Adding up its square rounds in the same direction each time, so
        that the diagonal of a symmetric product is then summed by itself.
    """

    def __init__(self, symmetric: bool, repeated: bool = False) -> None:
        self._symmetric = symmetric
        self._repeated = symmetric and repeated
        self._recent: Tensor | None = None
        self._rows = 0
        self._settled: Tensor | None = None
        self._diagonal: Tensor | None = None

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add the product of two parts of one dtype."""
        if a.shape[1] * b.shape[1] < MANY:
            a, b = a.double(), b.double()
        if self._recent is not None and self._recent.dtype != a.dtype:
            self._settle()
        fresh = self._recent is None
        if self._recent is None:
            self._recent = a.new_empty(a.shape[1], b.shape[1])
        for rows, columns in self._blocks():
            out = self._recent[rows, columns]
            torch.addmm(out, a[:, rows].T, b[:, columns], beta=0 if fresh else 1, out=out)
        if self._repeated:
            squares = a.square().sum(0).double()
            self._diagonal = squares if self._diagonal is None else self._diagonal + squares
        self._rows += len(a)
        if self._rows >= SETTLED and a.dtype == torch.float32:
            self._settle()

    def squared_norm(self, u: Tensor, v: Tensor) -> float:
        r"""Return :math:`\|S - u v^\top\|_F^2` of the sum S, for float64 u (d1,) and v (d2,)."""
        total = u.new_zeros(())
        for part, rows, columns, weight in self._strips():
            flat = part.addr_(u[rows], v[columns], alpha=-1).flatten()
            total += weight * torch.dot(flat, flat)
        return float(total)

    def bilinear(self, u: Tensor, v: Tensor) -> float:
        r"""Return :math:`u^\top S v`; where S is symmetric, u has to be v."""
        total = u.new_zeros(())
        for part, rows, columns, weight in self._strips():
            total += weight * (u[rows] @ part @ v[columns])
        return float(total)

    def diagonal(self) -> Tensor:
        """Return the diagonal of the sum, float64."""
        if self._diagonal is not None:
            return self._diagonal
        kept = [part.diagonal() for part in (self._settled, self._recent) if part is not None]
        return torch.stack([part.double() for part in kept]).sum(0)

    def whole(self) -> Tensor:
        """Return the sum (d1, d2) in float64, both halves."""
        self._settle()
        assert self._settled is not None
        if self._symmetric:
            for rows, columns in self._blocks():
                beyond = slice(rows.stop, columns.stop)
                self._settled[beyond, rows] = self._settled[rows, beyond].T
        if self._diagonal is not None:
            self._settled.diagonal().copy_(self._diagonal)
        return self._settled

    def _settle(self) -> None:
        if self._recent is None:
            return
        if self._settled is None:
            self._settled = self._recent.double()
        else:
            self._settled += self._recent
        self._recent, self._rows = None, 0

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of each block that is multiplied at once."""
        kept = self._settled if self._recent is None else self._recent
        assert kept is not None
        height, width = kept.shape
        step = max(NARROWEST, -(-height // BLOCKS)) if self._symmetric else height
        for start in range(0, height, max(1, step)):
            rows = slice(start, min(start + step, height))
            yield rows, slice(start if self._symmetric else 0, width)

    def _strips(self) -> Iterator[tuple[Tensor, slice, slice, int]]:
        """Yield float64 parts of the sum, where they stand, and how often they count."""
        for rows, columns in self._blocks():
            split = rows.stop if self._symmetric else columns.stop
            sides = ((slice(columns.start, split), 1), (slice(split, columns.stop), 2))
            step = max(1, STRIP // max(1, columns.stop - columns.start))
            for start in range(rows.start, rows.stop, step):
                at = slice(start, min(start + step, rows.stop))
                for side, weight in sides:
                    part = self._at(at, side)
                    if self._diagonal is not None and weight == 1:
                        part.diagonal(start - side.start).copy_(self._diagonal[at])
                    yield part, at, side, weight

    def _at(self, rows: slice, columns: slice) -> Tensor:
        parts = [part for part in (self._settled, self._recent) if part is not None]
        first = parts[0][rows, columns].to(torch.float64, copy=True)
        return first + parts[1][rows, columns] if len(parts) == 2 else first
