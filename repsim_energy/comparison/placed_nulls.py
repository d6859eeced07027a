"""Null intervals of pairs of networks whose filters are both smaller than the patches, or gray.

At several places, the energies of independent weights are neither equal nor independent: they
depend on how much of a component lies within reach of a small filter, in the same way for all
filters. The same is true of filters of gray images on color components. Intervals of such pairs
are therefore drawn. If the filters of one network fill the patches, the closed form is right for
any other network.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.own_theory import OwnTheory
from repsim_energy.comparison.pairs import Pairs
from repsim_energy.comparison.plan import Key
from repsim_energy.errors import RepsimWarning
from repsim_energy.interfaces import Metric
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.numerics.profiles.placed_null import DRAWS, correlation_interval, white_profiles

__all__ = ["beyond_null", "with_placed_nulls"]

Draws = Mapping[Key, NDArray[np.float64]]


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
        warnings.warn(
            f"the null intervals of '{metric.name}' are not known for pairs of networks whose "
            "filters are smaller than the patches, or gray on color images; they are NaN",
            RepsimWarning,
            stacklevel=4,
        )
    draws = _white_draws(theories, kernels) if known else {}
    ends = (pairs["null_low"].copy(), pairs["null_high"].copy())
    _fill(ends, theories, kernels, draws)
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
    draws = {}
    for key, theory in theories.items():
        if stage in theory.fits and np.isfinite(residuals[key]).any():
            spread = theory.spread(stage)
            random = np.random.default_rng(zlib.crc32(repr(tuple(key)).encode()))
            drawn = random.standard_normal((DRAWS, spread.shape[1])) @ spread.T
            left_out = np.isnan(residuals[key][: len(spread)])
            draws[key] = np.where(left_out, np.nan, drawn)
    _fill(ends, theories, kernels, draws)


def _white_draws(theories: Mapping[Key, OwnTheory], kernels: Kernels) -> Draws:
    """Return white profiles for each network: networks of one shape have the same ones, shifted."""
    drawn: dict[tuple[object, ...], NDArray[np.float64]] = {}
    draws = {}
    for number, (key, theory) in enumerate(theories.items()):
        shape = (key.dataset, theory.count, theory.basis.patch, kernels.dilation(key))
        if shape not in drawn:
            drawn[shape] = white_profiles(
                kernels.bases[key.dataset],
                *shape[1:],
                seed=zlib.crc32(repr(shape[1:]).encode()),
            )
        draws[key] = np.roll(drawn[shape], number, axis=0)
    return draws


def _fill(
    ends: Sequence[NDArray[np.float64]],
    theories: Mapping[Key, OwnTheory],
    kernels: Kernels,
    draws: Draws,
) -> None:
    """Write the intervals of all pairs with theories, NaN for networks without draws."""
    ids = [basis.basis_id for basis in kernels.bases]
    for a, b in combinations(theories, 2):
        if ids[a.dataset] != ids[b.dataset] or np.isnan(ends[0][(*a, *b)]):
            continue
        interval = (np.nan, np.nan)
        if a in draws and b in draws:
            interval = correlation_interval(draws[a], draws[b])
        for end, value in zip(ends, interval, strict=True):
            end[(*a, *b)] = end[(*b, *a)] = value
