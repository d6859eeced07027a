r"""Sums of products of image rows, checked against projections of the rows.

A product :math:`X = A^\top B` satisfies :math:`u^\top X v = (Au)^\top (Bv)` for all vectors u, v.
The right side needs two numbers per row, which are used for all products of that row, so that the
check takes little time beside the products. For whole numbers both sides are exact. With fixed
vectors of odd numbers an error in one entry is always found, and other errors unless they are
orthogonal to :math:`u v^\top`. A method of multiplying that fails is not used again.

Source: Freivalds (1977), "Probabilistic machines can use less running time", IFIP Congress 77,
pages 839 to 842.

Source: Huang and Abraham (1984), "Algorithm-based fault tolerance for matrix operations";
doi:10.1109/TC.1984.1676475.
"""

from __future__ import annotations

import math
import platform
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, islice

import torch
from torch import Tensor

from repsim_energy.errors import RepsimError, RepsimWarning

__all__ = ["MAX_TERMS", "row_products", "wide_type"]

EXACT_TERMS = 1024
"""Products of int8 whose sum is exact in float32: 1024 * 2**14 = 2**24."""

MAX_TERMS = 2**17 - 1
"""Products of int8 whose sum fits into int32."""

SAMPLE_ROWS = 128
"""Rows of a part whose projections are checked by multiplying entry by entry."""

Multiply = Callable[[Tensor, Tensor, Tensor], None]
"""Writes the (m, n) product of (k, m) and (k, n) columns into its third argument."""

_rejected: set[tuple[str, str, torch.dtype]] = set()
"""Methods that failed a check in this process, with the device type and the number type."""


def row_products(
    parts: Callable[[], Iterable[Tensor]],
    columns: slice,
    groups: Sequence[tuple[int, int]],
    depth: int,
) -> tuple[Tensor, Tensor, str]:
    r"""Return sums of image rows, and of their products with the rows below.

    Parameters
    ----------
    parts : returns the images in parts (h, n, c, w) of int8 or float, from the start at each call.
        n * h is at most ``MAX_TERMS`` for int8
    columns : of w, which are summed and multiplied with all columns
    groups : first row of each group whose products are summed, and the row after its last
    depth : the number of rows that each is multiplied with: itself, the next one and so on

    Returns
    -------
    sums : (g, m) of each group's rows, m counting (c, column)
    products : (g, depth, m, n) of each group's rows with the rows 0 to depth - 1 below, n counting
        (c, w); zero below the image
    way : the number type that was multiplied: ``int8``, ``float32`` or ``float64``

    Sums and products are int64 and exact for int8, else float64.

    Warns
    -----
    RepsimWarning
        Where a method of multiplying fails its check and another one is used.

    Raises
    ------
    RepsimError
        Where every method fails.
    """
    stream = iter(parts())
    first = next(stream)
    for way, multiply in _ways(first):
        check = _Projections(first, columns, depth, multiply)
        sums, products = _sum_up(first, stream, columns, groups, depth, multiply, check)
        if check.holds(sums, products, groups):
            return sums, products, way
        if check.fits_float32:
            _reject(way, first)
        stream = islice(parts(), 1, None)
    raise RepsimError(
        f"{_machine()} multiplies matrices of {first.dtype} wrongly with every available method; "
        "run repsim doctor, and use another version of torch and NumPy"
    )


def wide_type(values: Tensor) -> torch.dtype:
    """Return the type of sums: float64 for floats, else int64."""
    return torch.float64 if values.is_floating_point() else torch.int64


def _sum_up(
    first: Tensor,
    rest: Iterable[Tensor],
    columns: slice,
    groups: Sequence[tuple[int, int]],
    depth: int,
    multiply: Multiply,
    check: _Projections,
) -> tuple[Tensor, Tensor]:
    kind, wide = _type_of_products(first, multiply), wide_type(first)
    m, n = first[0, 0, :, columns].numel(), first[0, 0].numel()
    sums = first.new_zeros(len(groups), m, dtype=wide)
    products = first.new_zeros(len(groups), depth, m, n, dtype=wide)
    pair, product = first.new_zeros(2, m, dtype=kind), first.new_zeros(m, n, dtype=kind)
    for part in chain([first], rest):
        left, right = part[..., columns].contiguous().flatten(2), part.flatten(2)
        check.add(right)
        for group, (top, bottom) in enumerate(groups):
            upper = left[top:bottom].flatten(0, 1)
            # Two equal rows, because products with one row are wrong in torch 2.10 to 2.14.1.
            multiply(upper.new_ones(len(upper), 2), upper, pair)
            sums[group] += pair[0]
            for dy in range(min(depth, len(right) - bottom + 1)):
                multiply(upper, right[top + dy : bottom + dy].flatten(0, 1), product)
                products[group, dy] += product
    return sums, products


class _Projections:
    """Sums of products of two projections of every row."""

    def __init__(self, part: Tensor, columns: slice, depth: int, multiply: Multiply) -> None:
        height, _, channels, width = part.shape
        self._wide, self._multiply = wide_type(part), multiply
        generator = torch.Generator().manual_seed(0)
        vectors = torch.randint(0, 128, (2, channels, width), generator=generator) * 2 - 127
        self._u, self._v = (
            t.flatten().to(part.device, self._wide) for t in (vectors[0][:, columns], vectors[1])
        )
        outside = torch.ones(width, dtype=torch.bool)
        outside[columns] = False
        vectors[0][:, outside] = 0  # so that both projections are of whole rows
        self._vectors = vectors.flatten(1).to(part.device, part.dtype)
        self._sums = part.new_zeros(height, dtype=self._wide)
        self._products = part.new_zeros(depth, height, dtype=self._wide)
        self._rounding = torch.finfo(part.dtype).eps if part.is_floating_point() else 0.0
        self._sizes, self._terms = [0.0, 0.0], 1
        self._right = True
        self.fits_float32 = True

    def add(self, rows: Tensor) -> None:
        """Add the projections of a part (h, k, n)."""
        height, count, n = rows.shape
        flat = rows.flatten(0, 1)
        self._terms = max(self._terms, len(flat))
        found = rows.new_zeros(2, len(flat), dtype=_type_of_products(rows, self._multiply))
        self._multiply(self._vectors.T, flat.T, found)
        u, v = found.view(2, height, count).to(self._wide)
        self._sums += u.sum(1)
        for dy in range(min(len(self._products), height)):
            self._products[dy, : height - dy] += (u[: height - dy] * v[dy:]).sum(1)
        largest = 127 * n * float(torch.stack(rows.aminmax()).abs().max()) if self._rounding else 0
        if self._rounding and not 1e-12 < largest < 1e15:
            self.fits_float32 = False  # squares vanish, or are infinite
        self._sizes[0] += len(flat) * largest
        self._sizes[1] += len(flat) * largest**2
        sample = slice(None, None, max(1, len(flat) // SAMPLE_ROWS))
        trusted = (flat[sample].to(self._wide) * self._vectors[:, None].to(self._wide)).sum(2)
        off = (found[:, sample].to(self._wide) - trusted).abs().max().item()
        self._right &= self._equal(off, 0, largest)

    def holds(self, sums: Tensor, products: Tensor, groups: Sequence[tuple[int, int]]) -> bool:
        """Return True if the sums and products agree with the projections.

        It is also True for NaN and infinite values, which the caller refuses.
        """
        if not math.isfinite(self._sizes[0]):
            return True
        of_sums = (sums * self._u).sum(1).tolist()
        of_products = ((products * self._v).sum(3) * self._u).sum(2).tolist()
        row_sums, row_products = self._sums.tolist(), self._products.tolist()
        for group, (top, bottom) in enumerate(groups):
            expected = sum(row_sums[top:bottom])
            self._right &= self._equal(of_sums[group], expected, self._sizes[0])
            for dy in range(min(len(row_products), len(row_sums) - bottom + 1)):
                expected = sum(row_products[dy][top:bottom])
                self._right &= self._equal(of_products[group][dy], expected, self._sizes[1])
        return self._right

    def _equal(self, found: float, expected: float, size: float) -> bool:
        """Compare whole numbers exactly, and others up to the rounding of sums of that size.

        The sum of many equal numbers is rounded in the same direction each time.
        """
        if not self._rounding:
            return (found - expected) % 2**64 == 0  # int64 wraps
        return bool(abs(found - expected) <= 8 * (1 + self._terms**0.5) * self._rounding * size)


def _type_of_products(part: Tensor, multiply: Multiply) -> torch.dtype:
    if not part.is_floating_point():
        return torch.int32
    return torch.float64 if multiply is _with_numpy else part.dtype


def _ways(part: Tensor) -> list[tuple[str, Multiply]]:
    """Return the usable methods of multiplying such parts, the fastest first.

    The last one is never rejected.
    """
    ways: list[tuple[str, Multiply]] = [("float64", _with_numpy)]
    if part.is_floating_point():
        ways.insert(0, (str(part.dtype).removeprefix("torch."), _directly))
    else:
        ways.insert(0, ("float32", _in_exact_parts))
        if part.device.type == "cpu" and _has_int8():
            ways.insert(0, ("int8", _as_int8))
    usable = [w for w in ways[:-1] if (w[0], part.device.type, part.dtype) not in _rejected]
    return [*usable, ways[-1]]


@cache
def _has_int8() -> bool:
    """Return True if products of int8 are fast on this processor and do not saturate.

    Without oneDNN they are far slower than products of float32. On processors without an
    instruction for them, oneDNN adds pairs of products in 16 bits, where large ones saturate, as it
    documents.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm")):
        return False
    largest = torch.tensor([-128, 127, -128, 127], dtype=torch.int8).repeat(16, 4)
    exact = []
    for values in (largest, largest // 16):
        found = torch.zeros(16, 16, dtype=torch.int32)
        try:
            _as_int8(values, values, found)
        except (RuntimeError, TypeError):  # a private function may change
            return False
        exact.append(torch.equal(found.double(), values.double().T @ values.double()))
    saturates = exact == [False, True]
    return not saturates


def _as_int8(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch._int_mm(left.T, right, out=out)


def _directly(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch.mm(left.T, right, out=out)


def _in_exact_parts(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply int8 in parts that are small enough for exact sums in float32."""
    whole = len(left) - len(left) % EXACT_TERMS
    parts = [t[:whole].float().unflatten(0, (-1, EXACT_TERMS)) for t in (left, right)]
    rest = left[whole:].float().T @ right[whole:].float()
    out.copy_(torch.bmm(parts[0].mT, parts[1]).sum(0, dtype=torch.float64).add_(rest))


def _with_numpy(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply in float64 with NumPy, whose BLAS is another one than that of torch."""
    a, b = (t.double().cpu().numpy() for t in (left, right))
    out.copy_(torch.from_numpy(a.T @ b))


def _reject(way: str, part: Tensor) -> None:
    _rejected.add((way, part.device.type, part.dtype))
    warnings.warn(
        f"{_machine()} computed a wrong product of {part.dtype} matrices in {way}; a slower method "
        "is used from now on, and the numbers are right; see repsim doctor",
        RepsimWarning,
        stacklevel=2,
    )


def _machine() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__} on this processor ({platform.machine()}, {capability})"
