"""P-values, thresholds and calibrated scores of values against draws of a null distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.interfaces import Direction

__all__ = ["LEVEL", "calibrated_score", "monte_carlo_p", "null_threshold", "towards_similar"]

LEVEL = 0.95
"""Probability below the threshold, and inside the null interval."""

ROUNDING = 1e-12
"""Differences of two values, relative to the larger one, that are rounding and not distance."""


def towards_similar(direction: Direction) -> int:
    """Return 1 if larger values mean more similar networks, else -1."""
    return 1 if direction == "similarity" else -1


def monte_carlo_p(
    values: NDArray[np.float64], draws: NDArray[np.float64], direction: Direction
) -> NDArray[np.float64]:
    r"""Return the probability of a value at least as similar under the null.

    .. math:: p = \frac{1 + \#\{m : s_m \ge s\}}{M + 1}

    With a distance, :math:`\le` stands for :math:`\ge`. Both ones count the value itself, which the
    null has drawn if it is true: p is never zero, and :math:`P(p \le \alpha) \le \alpha`.

    Source: Phipson and Smyth (2010), "Permutation P-values Should Never Be Zero", Equation 2;
    doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    values : (...) s
    draws : (M,) values under the null
    direction : of the metric

    Returns
    -------
    (...), NaN where a value is NaN, and everywhere if a draw is
    """
    sign = towards_similar(direction)
    ordered = np.sort(sign * draws)
    slack = ROUNDING * np.abs(values)  # a draw that equals the value up to rounding is as similar
    below = np.searchsorted(ordered, sign * values - slack, side="left")
    p = (1 + len(draws) - below) / (len(draws) + 1)
    return np.where(np.isnan(values) | np.isnan(draws).any(), np.nan, p)


def null_threshold(draws: NDArray[np.float64], direction: Direction) -> NDArray[np.float64]:
    r"""Return the value that 5% of the draws reach or exceed towards more similar networks.

    It is the draw of rank :math:`\lceil 0.95 (M + 1) \rceil` from the least similar one, so that a
    value is more similar than the threshold if and only if its :func:`monte_carlo_p` is at most
    0.05.

    Parameters
    ----------
    draws : (M, ...) values under the null

    Returns
    -------
    (...), NaN where a draw is NaN, and for fewer than 19 draws
    """
    sign = towards_similar(direction)
    rank = math.ceil(LEVEL * (len(draws) + 1) * (1 - 1e-12))
    if rank > len(draws):
        return np.full(draws.shape[1:], np.nan)
    threshold: NDArray[np.float64] = sign * np.sort(sign * draws, axis=0)[rank - 1]
    return np.where(np.isnan(draws).any(0), np.nan, threshold)


def calibrated_score(
    values: NDArray[np.float64], thresholds: NDArray[np.float64], best: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    r"""Return values on the scale from the threshold of the null to the best value.

    .. math:: \frac{s - \tau}{s_\max - \tau}

    It is 1 for equal networks, 0 at the threshold, and negative for values that the null explains.
    With a distance, :math:`s_\max` is the smallest one, and the formula is the same.

    Source: Gröger et al. (2026), arXiv:2602.14486, where negative values are set to 0.

    Parameters
    ----------
    values, thresholds : (...) s and :math:`\tau`
    best : (...) value of equal networks, NaN where it is not known

    Returns
    -------
    (...), NaN where a number is NaN, or where the threshold is the best value already
    """
    room = np.asarray(best - thresholds)
    known = np.abs(room) > ROUNDING * np.abs(thresholds)
    score: NDArray[np.float64] = (values - thresholds) / np.where(known, room, np.nan)
    return score
