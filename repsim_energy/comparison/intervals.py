"""Confidence intervals of mean similarities, over seeds and over images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.layers import batches_of
from repsim_energy.comparison.measured import Variables, paired
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.inference.half_samples import (
    MIN_GROUPS,
    group_count,
    half_samples,
    random_groups,
)
from repsim_energy.results import Variable
from repsim_energy.results.intervals import intervals_of_groups
from repsim_energy.results.summary import HALVES, interval_over

__all__ = [
    "choose_groups",
    "choose_image_groups",
    "half_batches",
    "half_similarities",
    "halves_of_samples",
    "interval_variables",
]

DEFAULT_GROUPS = 20
"""Groups of images, of which half-samples are compared by metrics on filters."""

MAX_NETWORKS = 500
"""Number of networks above which half-samples are compared on request only: each takes as much
memory as the similarities of all pairs."""

MAX_COMPONENTS = 400
"""Number of components above which half-samples are compared on request only, because the
principal components of each take a second or more."""

Index = tuple[int, ...]
Numbers = NDArray[np.float64]


def choose_groups(
    resamples: int | None, images: int, components: int = 0, networks: int = 0
) -> int:
    """Return the number of groups of images that half-samples are made of, 0 for none.

    Parameters
    ----------
    resamples : as the user gave it; ``None`` chooses for a metric on filters
    images : number of images of the smallest data set
    components : of the patches
    networks : number of networks that are compared

    Raises
    ------
    UsageError
        For a number that is too small, or larger than the number of images.
    """
    if resamples is None:
        few = components <= MAX_COMPONENTS and networks <= MAX_NETWORKS
        wanted = DEFAULT_GROUPS if few else 0
        return group_count(min(wanted, images))
    whole = isinstance(resamples, int | np.integer) and not isinstance(resamples, bool)
    if not whole or resamples < 0 or 0 < resamples < MIN_GROUPS:
        raise UsageError(
            f"got resamples={resamples!r}, expected 0 for none, or a number of groups of images "
            f"from {MIN_GROUPS}, such as {DEFAULT_GROUPS}"
        )
    if resamples > images:
        raise UsageError(
            f"got resamples={resamples}, expected at most the number of images, {images}; use "
            "more images or resamples=0"
        )
    return group_count(int(resamples))


def choose_image_groups(resamples: int | None, images: int, metric: Metric) -> int:
    """Return the number of groups of images, or of batches of them, for a metric on activations.

    Parameters
    ----------
    resamples : as the user gave it; ``None`` for none
    images : number of images of the smallest data set that networks are shown

    Raises
    ------
    UsageError
        As :func:`choose_groups`, and for fewer batches than groups.
    """
    groups = choose_groups(resamples or 0, images)
    batch = getattr(metric, "batch", None)
    if batch is None or not groups:
        return groups
    batches = batches_of(images, batch)[0]
    if batches < MIN_GROUPS:
        raise UsageError(
            f"got resamples={resamples} for {images} images in {batches} batches, expected at "
            f"least {MIN_GROUPS} batches to take half of; show more images, give the metric a "
            "smaller batch=, or use resamples=0"
        )
    return min(groups, group_count(batches))


def halves_of_samples(metric: Metric, groups: int, count: int) -> list[Tensor]:
    """Return the numbers of the samples of each half-sample; none for a metric that sees batches.

    Parameters
    ----------
    groups : number of groups of samples, 0 for no half-samples
    count : number of samples
    """
    if not groups or getattr(metric, "batch", None) is not None:
        return []
    parts = random_groups(count, groups)
    return [
        torch.from_numpy(np.sort(np.concatenate([parts[g] for g in np.flatnonzero(half)])))
        for half in half_samples(groups)
    ]


def half_batches(
    representations: Mapping[Index, Numbers], groups: int, batches: Sequence[int]
) -> Iterator[dict[Index, Numbers]]:
    """Yield, for half-samples of the batches, index of a network -> its representation.

    Parameters
    ----------
    representations : index -> (b, ...) the stacked representations of all batches
    groups : number of groups of batches, 0 for no half-samples
    batches : number of batches of images of each data set. Where positions are samples, each has
        several representations, which stay together
    """
    for half in half_samples(groups) if groups else ():
        yield {
            index: stack[_chosen(half, batches[index[0]], len(stack))]
            for index, stack in representations.items()
        }


def _chosen(half: NDArray[np.bool_], batches: int, count: int) -> NDArray[np.bool_]:
    """Return which of ``count`` representations are of the groups of batches in a half-sample."""
    sizes = [len(part) for part in np.array_split(range(batches), len(half))]
    return np.repeat(np.repeat(half, sizes), count // batches)


def half_similarities(
    metric: Metric,
    halves: Iterable[Mapping[Index, Numbers]],
    shape: Index,
    group: Callable[[Index], Hashable],
) -> Numbers:
    """Return the similarities of all pairs for each half-sample of the images, (h, *shape, *shape).

    Parameters
    ----------
    halves : for each half-sample: index of a network -> its representation
    shape : sizes of the dimensions of these indices
    group : index -> key of its group; pairs of different groups are NaN
    """
    size = math.prod(shape)
    found: list[Numbers] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # which the whole has given
        for representations in halves:
            values = np.full((size, size), np.nan)
            members: dict[Hashable, list[Index]] = {}
            for index in representations:
                members.setdefault(group(index), []).append(index)
            for indices in members.values():
                at = np.array([np.ravel_multi_index(index, shape) for index in indices])
                values[at[:, None], at] = _similarities(
                    metric, [representations[index] for index in indices]
                )
            found.append(values)
    return np.reshape(found, (len(found), *shape, *shape))


def _similarities(metric: Metric, members: list[Numbers]) -> Numbers:
    """Return the (m, m) similarities of representations, without null intervals."""
    if hasattr(metric, "compare_all"):
        first: Numbers = metric.compare_all(np.stack(members))[0]
        return first
    values = np.full((len(members), len(members)), np.nan)
    for i, j in combinations_with_replacement(range(len(members)), 2):
        values[i, j] = values[j, i] = metric.compare(members[i], members[j])
    return values


def interval_variables(
    similarity: Numbers,
    halves: Numbers,
    exists: NDArray[np.bool_],
    bounds: tuple[float, float],
    dims: tuple[str, ...],
) -> tuple[Variables, dict[str, str]]:
    """Return the confidence intervals of mean similarities as variables and attributes.

    Parameters
    ----------
    similarity : (*shape, *shape) of all pairs
    halves : (h, *shape, *shape) for half-samples of the images; h = 0 without any
    exists : (*shape) networks, or layers of them, that are to be compared
    bounds : lowest and highest possible value
    dims : names of the dimensions of shape, with ``seed`` among them
    """
    outer = tuple(dim for dim in dims if dim != "seed")
    sizes = dict(zip(dims, exists.shape, strict=True))
    shape = [sizes[dim] for dim in outer]
    count, seeds = math.prod(shape), sizes["seed"]
    at = dims.index("seed")

    def tables(values: Numbers) -> Numbers:
        """Return (..., *shape, *shape) values as (..., group, group_ref, seed, seed_ref)."""
        extra = values.ndim - 2 * len(dims)
        last = np.moveaxis(values, (extra + at, extra + len(dims) + at), (-2, -1))
        return last.reshape(*values.shape[:extra], count, count, seeds, seeds)

    of_group = np.moveaxis(exists, at, -1).reshape(count, seeds)
    model = np.arange(count) // sizes.get("layer", 1)
    found = intervals_of_groups(
        tables(similarity), tables(halves) if len(halves) else None, model, of_group, bounds
    )
    meanings = {
        "ci_low": (found.low, "lower end of the 95% confidence interval of the mean similarity"),
        "ci_high": (found.high, "upper end of the 95% confidence interval of the mean similarity"),
        "n": (found.n, "number of pairs of networks in the mean similarity"),
        "n_missing": (found.missing, "number of pairs of failed or undefined networks"),
    }
    variables = {
        name: Variable(paired(outer), values.reshape(shape * 2), meaning)
        for name, (values, meaning) in meanings.items()
    }
    half = "similarity for a half-sample of the images"
    return {HALVES: Variable(("half", *paired(dims)), halves, half), **variables}, {
        "interval_over": interval_over(of_group, len(halves) > 0),
        "bounds": ",".join(map(str, map(float, bounds))),
    }
