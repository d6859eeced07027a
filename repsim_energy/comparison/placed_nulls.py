"""Null intervals of pairs of networks whose filters are both smaller than the patches, or gray.

At several places, the energies of independent weights are neither equal nor independent: they
depend on how much of a component lies within reach of a small filter, in the same way for all
filters. The same is true of filters of gray images on color components. Intervals of such pairs
are therefore drawn. If the filters of one network fill the patches, the closed form is right for
any other network.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.own_theory import OwnTheory
from repsim_energy.comparison.pairs import Pairs
from repsim_energy.comparison.plan import Key
from repsim_energy.errors import warn
from repsim_energy.interfaces import Metric
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.numerics.profiles.placed_null import DRAWS, correlation_interval, white_profiles
from repsim_energy.progress import working

__all__ = ["beyond_null", "with_placed_nulls"]

Draws = NDArray[np.float64]
Sides = Callable[[Key, Key], tuple[Draws, Draws] | None]
Shape = tuple[int, tuple[int, int, int], tuple[int, int]]


def with_placed_nulls(
    pairs: Pairs, metric: Metric, theories: Mapping[Key, OwnTheory], kernels: Kernels
) -> Pairs:
    """Return pairs with drawn null intervals where both networks have small filters.

    Those of metrics other than energy are NaN, with a warning.
    """
    if len(theories) < 2:
        return pairs
    known = isinstance(metric, EnergyProfileCorrelation)
    if not known:
        warn(
            f"the null intervals of '{metric.name}' are not known for pairs of networks whose "
            "filters are smaller than the patches, or gray on color images; they are NaN"
        )
    sides: Sides = _white_sides(theories, kernels) if known else lambda a, b: None
    ends = (pairs["null_low"].copy(), pairs["null_high"].copy())
    _fill(ends, theories, kernels, sides)
    return {**pairs, "null_low": ends[0], "null_high": ends[1]}


def beyond_null(
    ends: Sequence[NDArray[np.float64]],
    residuals: NDArray[np.float64],
    theories: Mapping[Key, OwnTheory],
    kernels: Kernels,
    stage: str,
) -> None:
    """Replace the null intervals beyond the theory where both networks have small filters.

    The log of each network's own profile has an independent normal residual at every component of
    its own patches, and what these are on the components of the comparison is correlated.

    Parameters
    ----------
    ends : two arrays of pairs, changed in place
    residuals : (data set, model, seed, component), NaN for components that are left out
    stage : that is compared
    """
    draws: dict[Key, tuple[Draws, Draws]] = {}
    for key, theory in theories.items():
        if stage in theory.fits and np.isfinite(residuals[key]).any():
            spread = theory.spread(stage)
            left_out = np.isnan(residuals[key][: len(spread)])
            both = (_normal(side, spread.shape[1]) @ spread.T for side in (0, 1))
            first, second = (np.where(left_out, np.nan, drawn) for drawn in both)
            draws[key] = first, second

    def sides(a: Key, b: Key) -> tuple[Draws, Draws] | None:
        if a not in draws or b not in draws:
            return None
        a, b = sorted((a, b), key=lambda key: theories[key].fits[stage].steps)
        return draws[a][0], draws[b][1]

    _fill(ends, theories, kernels, sides)


def _normal(seed: int, size: int) -> Draws:
    return np.random.default_rng(seed).standard_normal((DRAWS, size))


def _white_sides(theories: Mapping[Key, OwnTheory], kernels: Kernels) -> Sides:
    """Return a function of two networks that returns drawn white profiles of both.

    They depend on the sizes of the two banks alone. For banks of one size, each profile is compared
    with the next one.
    """

    def shape(key: Key) -> Shape:
        theory = theories[key]
        return theory.count, theory.basis.patch, kernels.dilation(key)

    @cache
    def drawn(dataset: int, shape: Shape) -> Draws:
        seed = zlib.crc32(repr(shape).encode())
        return white_profiles(kernels.bases[dataset], *shape, seed=seed)

    def sides(a: Key, b: Key) -> tuple[Draws, Draws]:
        first, second = (drawn(key.dataset, shape(key)) for key in (a, b))
        return first, np.roll(second, 1, axis=0) if shape(a) == shape(b) else second

    return sides


def _fill(
    ends: Sequence[NDArray[np.float64]],
    theories: Mapping[Key, OwnTheory],
    kernels: Kernels,
    sides: Sides,
) -> None:
    """Write the intervals of all pairs with theories, NaN for pairs without draws."""
    ids = [basis.basis_id for basis in kernels.bases]
    pairs = [
        (a, b)
        for a, b in combinations(theories, 2)
        if ids[a.dataset] == ids[b.dataset] and not np.isnan(ends[0][(*a, *b)])
    ]
    with working("drawing null intervals", len(pairs), "pairs") as advance:
        for a, b in pairs:
            drawn = sides(a, b)
            interval = (np.nan, np.nan) if drawn is None else correlation_interval(*drawn)
            for end, value in zip(ends, interval, strict=True):
                end[(*a, *b)] = end[(*b, *a)] = value
            advance(1)
