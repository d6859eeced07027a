"""Memory estimates of a comparison, checked before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from repsim_energy.comparison.layers import batches_of, groups_of
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.plan_layers import Layers
from repsim_energy.errors import UsageError, warn
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.memory import available_memory

__all__ = [
    "NUMBERS_PER_PAIR",
    "check_draws",
    "check_memory",
    "check_pairs",
    "needed_memory",
    "refuse_too_large",
]

MIN_ANNOUNCED_BYTES = 2 * 2**30
"""A comparison that needs more memory than this warns of it beforehand."""

WORK_ARRAYS = 5
"""Number of temporary arrays, each as large as a representation (of one batch), that computing it
takes."""

NUMBERS_PER_PAIR = 3
"""Similarity and both ends of the null interval; or threshold, p-value and calibrated score."""

ARRAYS_OF_DRAWS = 3
"""Drawn values of all pairs, and the copies that sorting them takes."""


def check_pairs(plan: Plan, layers: int = 1, *, numbers: int = NUMBERS_PER_PAIR) -> None:
    """Check that the similarities of all pairs fit into memory.

    Parameters
    ----------
    layers : number of layers of each network
    numbers : of each pair

    Raises
    ------
    UsageError
        If they do not fit.
    """
    count = math.prod(plan.shape) * layers
    refuse_too_large(count**2, numbers, f"{count} networks and layers")


def refuse_too_large(pairs: int, numbers: int, what: str) -> None:
    """Refuse more pairs than fit into memory.

    Parameters
    ----------
    numbers : of each pair
    what : makes the pairs, in words
    """
    needed, free = 8 * numbers * pairs, available_memory()
    if needed > free:
        raise UsageError(
            f"{what} make {pairs} pairs, which take {_gigabytes(needed)} "
            f"of memory, expected at most the {_gigabytes(free)} that are free; compare fewer "
            "models, seeds, data sets or layers at a time, or filters with pairs=summary"
        )


def check_draws(comparisons: int) -> None:
    """Check that the values of a drawn null fit into memory.

    Parameters
    ----------
    comparisons : number of values, of half of the pairs

    Raises
    ------
    UsageError
        If they do not fit.
    """
    needed, free = 8 * ARRAYS_OF_DRAWS * 2 * comparisons, available_memory()
    if needed > free:
        raise UsageError(
            f"a null of {comparisons} drawn values takes {_gigabytes(needed)} of memory, expected "
            f"at most the {_gigabytes(free)} that are free; compare fewer models or layers at a "
            "time, or take null=metric"
        )


def check_memory(
    plan: Plan,
    metric: Metric,
    layers: Layers,
    images: Sequence[int],
    what: str = "images",
    groups: int = 0,
    drawn: bool = False,
) -> None:
    """Check that activations and representations fit into memory, and warn if they are large.

    Parameters
    ----------
    images : number of images of each data set that the networks are shown
    what : they are called in messages
    groups : number of groups of images, of which half-samples are compared

    Raises
    ------
    UsageError
        If they do not fit.
    """
    needed, free = needed_memory(plan, metric, layers, images, groups, drawn), available_memory()
    size = f"{max(images)} {what} and {len(layers.labels)} layers take {_gigabytes(needed)}"
    if needed > free:
        remedy = (
            f", or give the metric batch=, such as {metric.name}:batch=256"
            if getattr(metric, "batch", 0) is None
            else ""
        ) + (", or use fewer resamples=" if groups else "")
        grids = (
            layers.sample_grid(m, one) for m, names in enumerate(layers.names) for one in names
        )
        positions = ", or average over positions, pool=mean" if any(grids) else ""
        raise UsageError(
            f"{size} of memory, expected at most the {_gigabytes(free)} that are free; take fewer "
            f"{what}, name fewer layers{remedy}{positions}"
        )
    if needed > MIN_ANNOUNCED_BYTES:
        warn(f"{size} of memory")


def needed_memory(
    plan: Plan,
    metric: Metric,
    layers: Layers,
    images: Sequence[int],
    groups: int = 0,
    drawn: bool = False,
) -> int:
    """Return the approximate peak memory of a comparison in bytes.

    It is the sum of all representations, of the temporary arrays of one, and of the activations
    that are in memory at the same time. Representations of metrics without
    ``representation_bytes`` are counted as 0.

    Parameters
    ----------
    images : number of images of each data set that the networks are shown
    groups : number of groups of images, of which half-samples are compared
    drawn : whether a null is drawn, which takes one more representation, and the activations of a
        layer for all images twice
    """
    batch = getattr(metric, "batch", None)
    size_of = getattr(metric, "representation_bytes", lambda images: 0)
    samples = [
        [math.prod(layers.sample_grid(m, layer)) for layer in names]
        for m, names in enumerate(layers.names)
    ]
    halves = max(groups - 1, 0) if batch is None else min(groups, 1)  # of batches one at a time
    stored = sum(
        size_of(images[d] * each) + halves * size_of(images[d] // 2 * each)
        for d, m, _ in plan.keys
        for each in samples[m]
    )
    work = activations = 0
    for n in images:
        count, at_once = batches_of(n, n if batch is None else batch)
        for each in {each for of_model in samples for each in of_model}:
            batches = count if batch is None else count * each
            work = max(work, WORK_ARRAYS * size_of(n * each) // batches)
        for sizes in layers.sizes:
            together = [[layer] for layer in sizes] if batch else groups_of(sizes, n)
            totals = (4 * at_once * sum(sizes[layer] for layer in group) for group in together)
            activations = max(activations, *totals)
            if drawn:
                activations = max(activations, 2 * 4 * n * max(sizes.values()) + size_of(n))
    return int(stored + work + activations)


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GB"
