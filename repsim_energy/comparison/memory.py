"""How much memory a comparison of activations takes, said before it starts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from repsim_energy.comparison.layers import Layers, batches_of, groups_of
from repsim_energy.comparison.plan import Plan
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.memory import available_memory

__all__ = ["check_memory", "check_pairs", "needed_memory"]

WORTH_SAYING = 2 * 2**30
"""Bytes from which on the memory that a comparison needs is said beforehand."""

WORK = 5
"""Arrays as large as the part of a representation at hand that making it takes."""


PAIRED = 3
"""Numbers of a pair in a result: its similarity and both ends of its null interval."""


def check_pairs(plan: Plan, layers: int = 1) -> None:
    """Refuse a comparison of so many networks that their pairs have no room in memory.

    Raises
    ------
    UsageError
        Where they have none.
    """
    count, free = math.prod(plan.shape) * layers, available_memory()
    needed = 8 * PAIRED * count**2
    if needed > free:
        raise UsageError(
            f"{count} networks and layers make {count**2} pairs, which take {_gigabytes(needed)} "
            f"of memory, expected at most the {_gigabytes(free)} that are free; compare fewer "
            "models, seeds, data sets or layers at a time"
        )


def check_memory(plan: Plan, metric: Metric, layers: Layers, images: Sequence[int]) -> None:
    """Say how much memory a comparison needs where it is much, and refuse more than there is.

    Parameters
    ----------
    images : for each data set, how many images the networks are shown

    Raises
    ------
    UsageError
        Where it does not fit.
    """
    needed, free = needed_memory(plan, metric, layers, images), available_memory()
    size = f"{max(images)} images and {len(layers.labels)} layers take {_gigabytes(needed)}"
    if needed > free:
        remedy = (
            f", or give the metric batch=, such as {metric.name}:batch=256"
            if getattr(metric, "batch", 0) is None
            else ""
        )
        raise UsageError(
            f"{size} of memory, expected at most the {_gigabytes(free)} that are free; show fewer "
            f"images, name fewer layers{remedy}"
        )
    if needed > WORTH_SAYING:
        warnings.warn(f"{size} of memory", RepsimWarning, stacklevel=3)


def needed_memory(plan: Plan, metric: Metric, layers: Layers, images: Sequence[int]) -> int:
    """Return about how many bytes are in use at the height of a comparison.

    All representations, what it takes to make one, and the activations that are kept meanwhile. A
    metric that does not say how large its representations are counts with its activations alone.
    """
    batch = getattr(metric, "batch", None)
    size_of = getattr(metric, "representation_bytes", lambda images: 0)
    kept = sum(size_of(images[d]) * len(layers.names[m]) for d, m, _ in plan.keys)
    work = activations = 0
    for n in images:
        count, at_once = batches_of(n, n if batch is None else batch)
        work = max(work, WORK * size_of(n) // count)
        for sizes in layers.sizes:
            groups = [[layer] for layer in sizes] if batch else groups_of(sizes, n)
            totals = (4 * at_once * sum(sizes[layer] for layer in group) for group in groups)
            activations = max(activations, *totals)
    return int(kept + work + activations)


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GB"
