"""Every pair of representations once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from repsim_energy.interfaces import Metric

__all__ = ["Pairs", "compare_pairs"]

Index = tuple[int, ...]
Pairs = dict[str, NDArray[np.float64]]


def compare_pairs(
    metric: Metric,
    representations: Mapping[Index, NDArray[np.float64]],
    shape: Index,
    comparable: Callable[[Index, Index], bool],
) -> Pairs:
    """Return ``similarity``, ``null_low`` and ``null_high`` of all pairs.

    Parameters
    ----------
    representations : index -> what ``metric.represent`` gave
    shape : the sizes of the dimensions that an index runs over
    comparable : False for pairs that stay NaN

    Returns
    -------
    Arrays of shape ``shape + shape``, symmetric; NaN where there is nothing to compare. A network
    with itself has no null band.
    """
    out = {name: np.full(shape + shape, np.nan) for name in ("similarity", "null_low", "null_high")}
    for a, b in combinations_with_replacement(representations, 2):
        if not comparable(a, b):
            continue
        values = [metric.compare(representations[a], representations[b])]
        if a != b:
            values += metric.null_band(representations[a], representations[b])
        for name, value in zip(out, values, strict=False):
            out[name][a + b] = out[name][b + a] = value
    return out
