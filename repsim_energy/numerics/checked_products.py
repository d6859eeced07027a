"""Sums of products of image rows, checked, so that a faulty kernel changes no number.

A method of multiplying that fails the check of :mod:`repsim_energy.numerics.projections` is not
used again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain, islice

import torch
from torch import Tensor

from repsim_energy.errors import RepsimError, warn
from repsim_energy.numerics.projections import Multiply, Projections

__all__ = ["MAX_TERMS", "first_way", "reject", "row_products", "wide_type"]

EXACT_TERMS = 1024
"""Products of int8 whose sum is exact in float32: 1024 * 2**14 = 2**24."""

MAX_TERMS = 2**17 - 1
"""Products of int8 whose sum fits into int32."""

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
        check = Projections(first, _factors(first, columns), depth, len(first))
        sums, products = _sum_up(first, stream, columns, groups, depth, multiply, check)
        if check.holds([(sums, products)], _rows_of(groups, depth, len(first))):
            return sums, products, way
        if check.fits_float32:
            reject(way, first)
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
    check: Projections,
) -> tuple[Tensor, Tensor]:
    kind, wide = _type_of_products(first, multiply), wide_type(first)
    m, n = first[0, 0, :, columns].numel(), first[0, 0].numel()
    sums = first.new_zeros(len(groups), m, dtype=wide)
    products = first.new_zeros(len(groups), depth, m, n, dtype=wide)
    pair, product = first.new_zeros(2, m, dtype=kind), first.new_zeros(m, n, dtype=kind)
    for part in chain([first], rest):
        left, right = part[..., columns].contiguous().flatten(2), part.flatten(2)
        check.add(check.measuring(right, 0, len(right), multiply, kind).measure(), 0)
        for group, (top, bottom) in enumerate(groups):
            upper = left[top:bottom].flatten(0, 1)
            # Two equal rows, because products with one row are wrong in torch 2.10 to 2.14.1.
            multiply(upper.new_ones(2, len(upper)), upper, pair)
            sums[group] += pair[0]
            for dy in range(min(depth, len(right) - bottom + 1)):
                multiply(upper.T, right[top + dy : bottom + dy].flatten(0, 1), product)
                products[group, dy] += product
    return sums, products


def _factors(part: Tensor, columns: slice) -> Tensor:
    """Return the columns (1, 2, c * w) of the left and of the right factor."""
    factors = torch.ones(1, 2, *part.shape[2:], dtype=torch.bool)
    factors[:, 0] = False
    factors[:, 0, :, columns] = True
    return factors.flatten(2)


def _rows_of(groups: Sequence[tuple[int, int]], depth: int, height: int) -> Tensor:
    """Return (g, depth, h): 1 for the rows of each group, if all have rows that far below."""
    rows = torch.zeros(len(groups), depth, height, dtype=torch.int64)
    for group, (top, bottom) in enumerate(groups):
        rows[group, : height - bottom + 1, top:bottom] = 1
    return rows


def _type_of_products(part: Tensor, multiply: Multiply) -> torch.dtype:
    if not part.is_floating_point():
        return torch.int32
    return torch.float64 if multiply is _with_numpy else part.dtype


def first_way(part: Tensor) -> tuple[str, Multiply]:
    """Return the fastest usable method of multiplying such parts, and its number type."""
    return _ways(part)[0]


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
            _as_int8(values.T, values, found)
        except (RuntimeError, TypeError):  # a private function may change
            return False
        exact.append(torch.equal(found.double(), values.double().T @ values.double()))
    saturates = exact == [False, True]
    return not saturates


def _as_int8(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch._int_mm(left, right, out=out)


def _directly(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch.mm(left, right, out=out)


def _in_exact_parts(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply int8 in parts that are small enough for exact sums in float32."""
    whole = len(right) - len(right) % EXACT_TERMS
    parts = [t[:whole].float().unflatten(0, (-1, EXACT_TERMS)) for t in (left.T, right)]
    rest = left[:, whole:].float() @ right[whole:].float()
    out.copy_(torch.bmm(parts[0].mT, parts[1]).sum(0, dtype=torch.float64).add_(rest))


def _with_numpy(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply in float64 with NumPy, whose BLAS is another one than that of torch."""
    a, b = (t.double().cpu().numpy() for t in (left, right))
    out.copy_(torch.from_numpy(a @ b))


def reject(way: str, part: Tensor) -> None:
    """Use a method that failed its check no more for such parts, and warn."""
    _rejected.add((way, part.device.type, part.dtype))
    warn(
        f"{_machine()} computed a wrong product of {part.dtype} matrices in {way}; a slower method "
        "is used from now on, and the numbers are right; see repsim doctor"
    )


def _machine() -> str:
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__} on this processor ({platform.machine()}, {capability})"
