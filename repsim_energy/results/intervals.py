"""Confidence intervals of mean similarities between groups of networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from repsim_energy.numerics.inference.two_factor import (
    Estimate,
    between,
    interval,
    two_factor,
    within,
)

__all__ = ["Intervals", "counted_pairs", "intervals_of_groups", "usable_seeds"]

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Intervals(NamedTuple):
    """Confidence intervals of the mean similarities of pairs of groups, and their pairs.

    Parameters
    ----------
    low, high : (g, g) ends of the 95% confidence intervals, NaN where nothing varies
    n : (g, g) pairs of networks that have a similarity
    missing : (g, g) pairs of networks that were to have one
    """

    low: Numbers
    high: Numbers
    n: NDArray[np.int64]
    missing: NDArray[np.int64]


def counted_pairs(known: Mask, model: NDArray[np.int64]) -> Mask:
    """Return which pairs of seeds count in the mean of a pair of groups, (g, g, s, s).

    Within one group every pair of different seeds counts once, so that a network is not compared
    with itself. Between two layers of one model the pairs of different seeds count, or those of
    the same network if no such pair is known; else all pairs.

    Parameters
    ----------
    known : (g, g, s, s) pairs that have a similarity, or are to have one
    model : (g,) number of the model of each group
    """
    groups, seeds = known.shape[0], known.shape[-1]
    same_group = np.eye(groups, dtype=bool)[..., None, None]
    same_model = (model[:, None] == model)[..., None, None]
    later = ~np.tri(seeds, dtype=bool)
    other = later | later.T
    across = (known & other).any((2, 3), keepdims=True)
    return np.asarray(np.where(same_group, later, np.where(same_model & across, other, True)))


def intervals_of_groups(
    pairs: Numbers,
    halves: Numbers | None,
    model: NDArray[np.int64],
    exists: Mask,
    bounds: tuple[float, float],
) -> Intervals:
    """Return the confidence intervals of the mean similarities of all pairs of groups.

    Parameters
    ----------
    pairs : (g, g, s, s) similarities of pairs of seeds, NaN where they are undefined
    halves : (h, g, g, s, s) the same of half-samples of the images
    model : (g,) number of the model of each group
    exists : (g, s) networks that were to be compared
    bounds : lowest and highest possible value
    """
    known = np.isfinite(pairs)
    planned = exists[:, None, :, None] & exists[None, :, None, :]
    n = (known & counted_pairs(known, model)).sum((2, 3))
    missing = (planned & ~known & counted_pairs(planned, model)).sum((2, 3))
    low, high = np.full((2, *pairs.shape[:2]), np.nan)
    for at, rows, columns, shared in _alike(usable_seeds(pairs), model):
        whole = _estimate(pairs[at][:, rows[:, None], columns], shared)
        parts = None
        if halves is not None:
            tables = halves[:, at[0], at[1]][:, :, rows[:, None], columns]
            parts = _estimate(tables - tables.mean(0), shared)
        low[at], high[at] = interval(whole.mean, two_factor(whole, parts), bounds)
    own = np.arange(len(pairs))
    alone = n[own, own] == 0
    low[own[alone], own[alone]] = high[own[alone], own[alone]] = np.nan
    return Intervals(low, high, n, missing)


def usable_seeds(pairs: Numbers) -> Mask:
    """Return which seeds of each group have a similarity with any network, (g, s)."""
    return np.asarray(np.isfinite(pairs).any((1, 3)))


def _estimate(tables: Numbers, shared: bool) -> Estimate:
    """Return the mean similarities of the networks of two groups.

    Parameters
    ----------
    tables : (..., n, m)
    shared : whether both groups are layers of the same networks
    """
    return within(tables) if shared and tables.shape[-1] > 1 else between(tables)


Alike = tuple[
    tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64], NDArray[np.int64], bool
]


def _alike(usable: Mask, model: NDArray[np.int64]) -> Iterator[Alike]:
    """Yield the pairs of groups that have the same usable seeds.

    They are the two indices of these pairs, their seeds, and whether their networks are the same.
    """
    patterns, of_group = np.unique(usable, axis=0, return_inverse=True)
    same_model = model[:, None] == model
    for p, q in itertools.product(range(len(patterns)), repeat=2):
        inside = (of_group == p)[:, None] & (of_group == q)
        rows, columns = np.flatnonzero(patterns[p]), np.flatnonzero(patterns[q])
        if len(rows) and len(columns):
            common = np.intersect1d(rows, columns)
            for shared, first, second in ((False, rows, columns), (True, common, common)):
                at = np.nonzero(inside & (same_model == shared))
                if len(at[0]) and len(first):
                    yield (at[0], at[1]), first, second, shared
