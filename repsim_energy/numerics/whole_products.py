"""Matrix products of int8 as whole numbers, exact on every machine."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["MOST_TERMS", "multiply"]

EXACT_TERMS = 1024
"""So many products of int8 add up exactly in float32: 1024 * 2**14 = 2**24."""

MOST_TERMS = 2**17 - 1
"""So many products of int8 add up in int32."""


def multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write the (m, n) product of (k, m) and (k, n) columns; that of int8 is exact."""
    if left.is_floating_point():
        torch.mm(left.T, right, out=out)
    elif left.device.type == "cpu" and _int8_is_exact():
        torch._int_mm(left.T, right, out=out)
    else:
        whole = len(left) - len(left) % EXACT_TERMS
        parts = [t[:whole].float().unflatten(0, (-1, EXACT_TERMS)) for t in (left, right)]
        rest = left[whole:].float().T @ right[whole:].float()
        out.copy_(torch.bmm(parts[0].mT, parts[1]).sum(0, dtype=torch.float64).add_(rest))


@cache
def _int8_is_exact() -> bool:
    """Return whether this machine multiplies int8 without saturation; some older ones do not."""
    extremes = torch.tensor([-128, 127, -1, 1], dtype=torch.int8).repeat(256, 16)
    try:
        found = torch._int_mm(extremes.T, extremes)
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found.double(), extremes.double().T @ extremes.double())
