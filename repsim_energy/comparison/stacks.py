"""Similarities within many stacks of representations, such as the draws of a null."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from repsim_energy.interfaces import Metric

__all__ = ["values_in_stacks"]

AT_ONCE = 2**22
"""Numbers of representations and of similarities in stacks that are compared at once."""

Array = NDArray[np.float64]


def values_in_stacks(
    metric: Metric,
    stacks: Sequence[Sequence[Array]],
    first: Sequence[int] | NDArray[np.int64],
    second: Sequence[int] | NDArray[np.int64],
) -> Array:
    """Return the (n, p) values of p pairs within each of n stacks of m representations.

    Parameters
    ----------
    first, second : (p,) the places in a stack of the representations of each pair
    """
    if hasattr(metric, "compare_stacks"):
        m, size = len(stacks[0]), stacks[0][0].size
        step = max(1, AT_ONCE // (m * max(m, size)))
        parts = (
            np.stack([np.stack(one) for one in stacks[at : at + step]])
            for at in range(0, len(stacks), step)
        )
        return np.concatenate([metric.compare_stacks(part)[:, first, second] for part in parts])
    if hasattr(metric, "compare_all"):
        return np.stack([metric.compare_all(np.stack(one))[0][first, second] for one in stacks])
    return np.array(
        [
            [metric.compare(one[a], one[b]) for a, b in zip(first, second, strict=True)]
            for one in stacks
        ]
    )
