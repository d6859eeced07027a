"""Null intervals of covariances: those of independent white random filters."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from repsim_energy.numerics.covariance.matrix import misalignment_or_nan
from repsim_energy.numerics.covariance.similarity import CovarianceKind, covariance_values

__all__ = ["covariance_null_interval", "misalignment_null_interval"]

MIN_DRAWS, MAX_DRAWS = 40, 200
"""Random banks, or pairs of them, that an interval is estimated from: fewer in large bases."""


def covariance_null_interval(
    filters: int, others: int, components: int, kind: CovarianceKind
) -> tuple[float, float]:
    """Return the central 95% of the similarity of two banks of independent white random filters.

    Drawn banks are compared. As in :class:`ShuffledMetric`, the interval contains one more value
    with 95% probability where values are normally distributed.

    Parameters
    ----------
    filters, others : number of filters of both banks
    components : r, the size of the covariances
    kind : of :func:`compare_covariances`
    """
    return _similarity_interval(*sorted((filters, others)), components, kind)


@lru_cache(maxsize=256)
def _similarity_interval(
    filters: int, others: int, components: int, kind: CovarianceKind
) -> tuple[float, float]:
    if components < 2:  # all covariances of one component are equal up to their scale
        return (math.nan, math.nan)
    random = np.random.default_rng(0)
    values = [
        covariance_values(
            np.stack([_white(random, filters, components), _white(random, others, components)]),
            kind,
        )[0, 1]
        for _ in range(_draws(components))
    ]
    low, high = _interval(np.array(values))
    return (max(low, 0.0), min(high, 1.0))


@lru_cache(maxsize=256)
def misalignment_null_interval(filters: int, components: int) -> tuple[float, float]:
    """Return the central 95% of the misalignment of independent white random filters.

    The logarithm of the misalignment is nearly normally distributed.

    Parameters
    ----------
    filters : number of filters
    components : r, the size of the covariance

    Returns
    -------
    (low, high), NaN for fewer filters than components
    """
    if filters < components or components < 2:
        return (math.nan, math.nan)
    random = np.random.default_rng(0)
    values = [
        misalignment_or_nan(_white(random, filters, components)) for _ in range(_draws(components))
    ]
    low, high = np.exp(_interval(np.log(values)))
    return float(low), float(high)


def _draws(components: int) -> int:
    return max(MIN_DRAWS, min(MAX_DRAWS, 8_000 // components))


def _white(random: np.random.Generator, filters: int, components: int) -> NDArray[np.float64]:
    bank = random.standard_normal((filters, components))
    covariance: NDArray[np.float64] = bank.T @ bank / filters
    return covariance


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean plus and minus what contains one more normal value with probability 95%."""
    count = len(values)
    width = float(stdtrit(count - 1, 0.975)) * math.sqrt(1 + 1 / count)
    middle, reach = float(values.mean()), float(width * values.std(ddof=1))
    return (middle - reach, middle + reach)
