"""Matrix products of many rows, multiplied in float32 and summed in float64."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from repsim_energy.errors import DataError

__all__ = ["RowProducts", "as_floating", "fits_float32", "row_lengths", "typical_row"]

MIN_FLOAT32_NUMBERS = 16_384
"""Features, or entries of a product, from which on rounding to float32 averages out."""

MAX_BLOCKS, BLOCK_MULTIPLE = 8, 64
"""Column blocks that a symmetric product is split into, and what their width is a multiple of."""

MAX_FLOAT32_ROWS = 16_384
"""Rows that are summed in float32 before their sum is added in float64."""

STRIP_ENTRIES = 65_536
"""Entries that are converted to float64 at once: few enough for the processor's cache."""


def as_floating(features: Tensor) -> Tensor:
    """Return features as float32 where products of float32 are exact enough, else as float64.

    They are where the features have no higher precision, and are so many that rounding averages
    out. The result has no graph.

    Raises
    ------
    DataError
        For complex features, whose imaginary part would be lost.
    """
    if features.is_complex():
        raise DataError(
            f"features are {features.dtype}, expected real numbers; give torch.view_as_real of them"
        )
    representable = features.dtype in (torch.float16, torch.bfloat16, torch.float32)
    narrow = representable and features.numel() >= MIN_FLOAT32_NUMBERS
    return features.detach().to(torch.float32 if narrow else torch.float64)


def fits_float32(lengths: Tensor) -> bool:
    """Return True where third powers of rows of these lengths neither overflow nor vanish."""
    return bool(1e-8 < lengths.max() < 1e10)


def row_lengths(features: Tensor) -> Tensor:
    """Return the Euclidean length (n,) of each row."""
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1)
    return lengths


def typical_row(features: Tensor) -> Tensor:
    """Return the column means (d,) of (n, d), exact for constant columns.

    The computed mean of equal numbers can differ from them by rounding. Subtracting it would leave
    a column that looks as if it had variance.
    """
    mean, first = features.mean(0), features[0]
    rounding = 64 * torch.finfo(features.dtype).eps
    return torch.where((mean - first).abs() <= rounding * first.abs(), first, mean)


class RowProducts:
    r"""Sum of :math:`A^\top B` over parts A (r, d1) and B (r, d2) of many rows.

    float32 parts are multiplied and summed in float32 for some thousand rows, then in float64. They
    are converted to float64 first where the product has few entries. Of a symmetric product, where
    B is A, only the blocks on and above the diagonal are computed.

    Parameters
    ----------
    symmetric : True if B is A
    repeated : True if columns contain one number many times, such as the zeros of a ReLU after
        centering. Sums of its square are rounded in the same direction each time, so that the
        diagonal of a symmetric product is then summed separately in float64.
    """

    def __init__(self, symmetric: bool, repeated: bool = False) -> None:
        self._symmetric = symmetric
        self._repeated = symmetric and repeated
        self._recent: Tensor | None = None
        self._rows = 0
        self._total: Tensor | None = None
        self._diagonal: Tensor | None = None

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add the product of two parts of the same dtype."""
        if a.shape[1] * b.shape[1] < MIN_FLOAT32_NUMBERS:
            a, b = a.double(), b.double()
        if self._recent is not None and self._recent.dtype != a.dtype:
            self._add_recent()
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
        if self._rows >= MAX_FLOAT32_ROWS and a.dtype == torch.float32:
            self._add_recent()

    def squared_norm(self, u: Tensor, v: Tensor) -> float:
        r"""Return :math:`\|S - u v^\top\|_F^2` of the sum S, for float64 u (d1,) and v (d2,)."""
        total = u.new_zeros(())
        for part, rows, columns, weight in self._strips():
            flat = part.addr_(u[rows], v[columns], alpha=-1).flatten()
            total += weight * torch.dot(flat, flat)
        return float(total)

    def bilinear(self, u: Tensor, v: Tensor) -> float:
        r"""Return :math:`u^\top S v`. If S is symmetric, u has to be v."""
        total = u.new_zeros(())
        for part, rows, columns, weight in self._strips():
            total += weight * (u[rows] @ part @ v[columns])
        return float(total)

    def diagonal(self) -> Tensor:
        """Return the diagonal of the sum, float64."""
        if self._diagonal is not None:
            return self._diagonal
        parts = [part.diagonal() for part in (self._total, self._recent) if part is not None]
        return torch.stack([part.double() for part in parts]).sum(0)

    def whole(self) -> Tensor:
        """Return the whole sum (d1, d2) in float64."""
        self._add_recent()
        assert self._total is not None
        if self._symmetric:
            for rows, columns in self._blocks():
                beyond = slice(rows.stop, columns.stop)
                self._total[beyond, rows] = self._total[rows, beyond].T
        if self._diagonal is not None:
            self._total.diagonal().copy_(self._diagonal)
        return self._total

    def _add_recent(self) -> None:
        """Add the recent sum, which may be float32, to the total in float64."""
        if self._recent is None:
            return
        if self._total is None:
            self._total = self._recent.double()
        else:
            self._total += self._recent
        self._recent, self._rows = None, 0

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield the rows and columns of each block that is multiplied at once."""
        some = self._total if self._recent is None else self._recent
        assert some is not None
        height, width = some.shape
        multiples = -(-height // (MAX_BLOCKS * BLOCK_MULTIPLE))
        step = multiples * BLOCK_MULTIPLE if self._symmetric else height
        for start in range(0, height, max(1, step)):
            rows = slice(start, min(start + step, height))
            yield rows, slice(start if self._symmetric else 0, width)

    def _strips(self) -> Iterator[tuple[Tensor, slice, slice, int]]:
        """Yield float64 parts of the sum, their rows and columns, and their weight in the sum."""
        for rows, columns in self._blocks():
            split = rows.stop if self._symmetric else columns.stop
            sides = ((slice(columns.start, split), 1), (slice(split, columns.stop), 2))
            step = max(1, STRIP_ENTRIES // max(1, columns.stop - columns.start))
            for start in range(rows.start, rows.stop, step):
                at = slice(start, min(start + step, rows.stop))
                for side, weight in sides:
                    part = self._at(at, side)
                    if self._diagonal is not None and weight == 1:
                        part.diagonal(start - side.start).copy_(self._diagonal[at])
                    yield part, at, side, weight

    def _at(self, rows: slice, columns: slice) -> Tensor:
        parts = [part for part in (self._total, self._recent) if part is not None]
        first = parts[0][rows, columns].to(torch.float64, copy=True)
        return first + parts[1][rows, columns] if len(parts) == 2 else first
