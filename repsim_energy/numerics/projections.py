r"""Check of sums of products of image rows, against projections of the rows.

A product :math:`X = A^\top B` satisfies :math:`u^\top X v = (Au)^\top (Bv)` for all vectors u, v.
The right side needs two numbers per row, which are used for all products of that row, so that the
check takes little time beside the products. For whole numbers both sides are exact modulo
:math:`2^{32}`. With fixed vectors of odd numbers an error in one entry is always found, and other
errors unless they are orthogonal to :math:`u v^\top`.

Source: Freivalds (1977), "Probabilistic machines can use less running time", IFIP Congress 77,
pages 839 to 842.

Source: Huang and Abraham (1984), "Algorithm-based fault tolerance for matrix operations";
doi:10.1109/TC.1984.1676475.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Measured", "Multiply", "Projections"]

SAMPLE_ROWS = 16
"""Rows of a part whose projections are multiplied again in float64."""

BLOCK = 4
"""Products whose projections are computed together, because neighbors share columns."""

Multiply = Callable[[Tensor, Tensor, Tensor], None]
"""Writes the product (m, n) of (m, k) and (k, n) into its third argument."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What :class:`Projections` keep of one part of the images.

    Parameters
    ----------
    sums : (t, r) of the projections u of each image row r
    products : (depth, t, r) of them with the projections v of the rows below
    count : the number of rows in all
    largest : bound of a projection of floats
    agrees : whether the projections of a sample are right
    """

    sums: Tensor
    products: Tensor
    count: int
    largest: float
    agrees: bool


class Projections:
    """Sums of products of two projections of every row.

    Parameters
    ----------
    row : a tensor of the type and on the device of the rows
    factors : (t, 2, n) bool, the columns of the left and of the right factor of each product
    depth : the number of rows that each is multiplied with: itself, the next one and so on
    height : the number of rows of an image
    """

    def __init__(self, row: Tensor, factors: Tensor, depth: int, height: int) -> None:
        generator = torch.Generator().manual_seed(0)
        odd = torch.randint(0, 128, factors.shape, generator=generator) * 2 - 127
        self.vectors = (odd * factors).to(row.device, row.dtype)
        self.trusted = self.vectors.double().flatten(0, 1)
        self.depth = depth
        self._factors = factors.to(row.device)
        self.blocks = [_span(factors[i : i + BLOCK]) for i in range(0, len(factors), BLOCK)]
        self._rounding = torch.finfo(row.dtype).eps if row.is_floating_point() else 0.0
        self._wide = torch.float64 if self._rounding else torch.int32
        self._sums = row.new_zeros(len(factors), height, dtype=self._wide)
        self._products = row.new_zeros(depth, len(factors), height, dtype=self._wide)
        self._sizes, self._terms = [0.0, 0.0], 1
        self._right = True
        self.fits_float32 = True

    def measuring(
        self, rows: Tensor, first: int, last: int, multiply: Multiply, kind: torch.dtype
    ) -> Measuring:
        """Return what measures rows (h, k, n): the rows first to last, and those below.

        ``rows`` may be overwritten and measured again. ``kind`` is the type of the products that
        ``multiply`` writes.
        """
        return Measuring(self, rows, slice(first, last), multiply, kind)

    def add(self, measured: Measured, first: int) -> None:
        """Add what was measured of the rows from ``first`` on."""
        rows = slice(first, first + measured.sums.shape[1])
        self._sums[:, rows] += measured.sums
        self._products[:, :, rows] += measured.products
        self._right &= measured.agrees
        self._terms = max(self._terms, measured.count)
        if self._rounding and measured.largest != 0 and not 1e-12 < measured.largest < 1e15:
            self.fits_float32 = False  # squares vanish, or are infinite
            self._right &= measured.products.dtype != torch.float32
        for power in (1, 2):
            self._sizes[power - 1] += measured.count * measured.largest**power

    def holds(self, found: Iterable[tuple[Tensor, Tensor]], rows: Tensor) -> bool:
        """Return True if sums and products agree with the projections.

        It is also True for NaN and infinite values, which the caller refuses.

        Parameters
        ----------
        found : for each of the t products, the sums (s, m) of the left columns and the products
            (s, depth, m, n), both added up over rows of the images in s ways
        rows : (s, depth, h) how often each row is added; (s, 1, h) if that is the same for all
            rows that it is multiplied with
        """
        if not math.isfinite(self._sizes[1]):
            return True
        wide = torch.float64 if self._rounding else torch.int64
        rows = rows.to(self._sums.device, wide)
        for one, (sums, products) in enumerate(found):
            u, v = (self.vectors[one, side][self._factors[one, side]].to(wide) for side in (0, 1))
            of_rows = (rows[:, 0] * self._sums[one]).sum(1)
            self._right &= self._equal((sums * u).sum(1), of_rows, self._sizes[0])
            of_rows = (rows * self._products[:, one]).sum(2)
            of_products = ((products * v).sum(3) * u).sum(2)
            self._right &= self._equal(of_products, of_rows, self._sizes[1])
        return self._right

    def _equal(self, found: Tensor, expected: Tensor, size: float) -> bool:
        off = found - expected
        if not self._rounding:
            return not bool((off % 2**32).any())
        return bool(off.abs().max() <= self.tolerance(size, self._terms))

    def tolerance(self, size: float, terms: int) -> float:
        """Return the rounding of sums of floats of that size.

        The sum of many equal numbers is rounded in the same direction each time.
        """
        return 8 * (1 + math.sqrt(terms)) * self._rounding * size


class Measuring:
    """Measures the same rows again and again, in memory that is allocated once.

    Each step of Python holds the interpreter, for which other threads wait. All views and results
    are therefore made before.

    Parameters
    ----------
    check, rows, multiply, kind : see :meth:`Projections.measuring`
    of : the rows of an image that are summed
    """

    def __init__(
        self, check: Projections, rows: Tensor, of: slice, multiply: Multiply, kind: torch.dtype
    ) -> None:
        (height, count, _), depth, number = rows.shape, check.depth, len(check.vectors)
        self._check, self._multiply, self._kind = check, multiply, kind
        self._rows = rows.flatten(0, 1)
        sample = slice(None, None, max(1, len(self._rows) // SAMPLE_ROWS))
        self._sample = self._rows[sample]
        found = self._rows.new_zeros(number, 2, len(self._rows), dtype=kind)
        self._sampled = found.flatten(0, 1)[:, sample]
        self._factors = [
            (
                check.vectors[start : start + BLOCK, :, columns].flatten(0, 1),
                self._rows[:, columns].T,
                found[start : start + BLOCK].flatten(0, 1),
            )
            for start, columns in zip(range(0, number, BLOCK), check.blocks, strict=True)
        ]
        u, v = found.view(number, 2, height, count).unbind(1)
        self._left = u[:, of]
        self._sums = found.new_zeros(number, of.stop - of.start)
        self._products = found.new_zeros(depth, number, of.stop - of.start)
        pairs = torch.empty_like(self._left, memory_format=torch.contiguous_format)
        self._pairs = []
        for dy in range(min(depth, height - of.start)):
            end = min(of.stop, height - dy)
            low, high = u[:, of.start : end], v[:, of.start + dy : end + dy]
            part = slice(end - of.start)
            self._pairs.append((low, high, pairs[:, part], self._products[dy, :, part]))

    def measure(self) -> Measured:
        """Return what to keep of the rows as they are now, until the next call overwrites it."""
        for vectors, columns, out in self._factors:
            self._multiply(vectors, columns, out)
        torch.sum(self._left, 2, dtype=self._kind, out=self._sums)
        for low, high, pairs, out in self._pairs:
            torch.mul(low, high, out=pairs)
            torch.sum(pairs, 2, dtype=self._kind, out=out)
        trusted = self._check.trusted @ self._sample.double().T
        off = (self._sampled - trusted).abs_().max().item()
        count, largest = len(self._rows), self._largest()
        agrees = off <= self._check.tolerance(largest, count) or not math.isfinite(largest)
        return Measured(self._sums, self._products, count, largest, agrees)

    def _largest(self) -> float:
        """Return a bound of the projections of floats."""
        if not self._rows.is_floating_point():
            return 0.0
        return 127 * self._rows.shape[1] * float(torch.stack(self._rows.aminmax()).abs().max())


def _span(factors: Tensor) -> slice:
    """Return the columns from the first to the last of all factors."""
    columns = factors.flatten(0, 1).any(0).nonzero()
    return slice(int(columns[0]), int(columns[-1]) + 1)
