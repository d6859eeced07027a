"""Localization and orientation of filters, with thresholds that noise does not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import ShapeError, warn
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.patches.description import stripes
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

__all__ = ["MAX_SPREAD", "MIN_COHERENCE", "MIN_SIDE", "wavelike"]

MAX_SPREAD = 0.75
"""Spread of a Gaussian window whose standard deviation is a quarter of the side."""

MIN_COHERENCE = 0.5
"""Coherence with three times as much squared gradient across the stripes as along them."""

MIN_SIDE = 5
"""Shorter side in pixels, from which at most 5% of white noise pass each threshold."""


@own_settings()
def wavelike(filters: ArrayLike) -> dict[str, NDArray[np.float64]]:
    r"""Return the localization and the orientation of filters, the properties of wavelets.

    Neither number depends on the sign or the scale of a filter. Rotations by 90 degrees and mirror
    images do not change them. Squared weights are added up over the channels.

    **spread**: the variance of the position of the squared weights, in the direction where it is
    largest, relative to that of a filter of equal weights. With centered positions y and x:

    .. math:: \max_{|a| = 1} \operatorname{Var}_p\left(
        \frac{a_1 y}{\sqrt{(h^2 - 1) / 12}} + \frac{a_2 x}{\sqrt{(w^2 - 1) / 12}}\right),\qquad
        p_{yx} = \frac{\sum_c u_{cyx}^2}{\sum_{cyx} u_{cyx}^2}

    It is 0 for a filter of one pixel, and 1 for one of equal weights. For waves and lines that
    cross the whole filter it is near 1 or above.

    **coherence** of the orientation: as :func:`repsim_energy.describe_components` defines it, for
    the filter with a border of zeros. It is 0 for a pixel, near 0 for large filters of noise, and
    near 1 for parallel stripes. The border is there because a convolution is zero outside of its
    filter. Without it, a pixel in a corner would be oriented.

    **localized**: 1 where the spread is below 3/4, else 0. A Gaussian window (of the squared
    weights) has this spread if its standard deviation is a quarter of the side.

    **oriented**: 1 where the coherence is above 1/2, else 0. The squared gradient across the
    stripes is then more than three times that along them.

    **wavelike**: 1 where a filter is both, else 0. The mean is the share of such filters.

    From 5x5 pixels on, at most 5% of filters of white noise are localized, at most 5% are oriented,
    and at most 1% are both; the larger the filters, the fewer. Smaller filters are not judged: more
    of noise would pass, and with 3x3 pixels no Gabor function.

    Sources: Olshausen and Field (1996), "Emergence of simple-cell receptive field properties by
    learning a sparse code for natural images"; doi:10.1038/381607a0, for the properties. Gabor
    (1946), "Theory of communication"; doi:10.1049/ji-3-2.1946.0074, for the width of a function as
    the variance of its squares.

    Parameters
    ----------
    filters : (..., c, h, w), such as the weights of a convolution

    Returns
    -------
    dict
        Name -> (...,) float64. All are NaN, with a :class:`RepsimWarning`, for filters that are
        zero or not finite. ``localized``, ``oriented`` and ``wavelike`` are NaN, with a
        :class:`RepsimWarning`, for filters with a side of fewer than 5 pixels.

    Raises
    ------
    ShapeError
        For an array of fewer than three dimensions, or without channels, or with a side of fewer
        than 2 pixels.
    DataError
        For complex numbers, and what is no array of numbers.

    Warns
    -----
    RepsimWarning
        For undefined numbers.

    Examples
    --------
    >>> y, x = np.mgrid[-4:5, -4:5]
    >>> window = np.exp(-(x**2 + y**2) / 8)
    >>> wave = np.cos(2 * np.pi * x / 4)
    >>> found = wavelike(np.stack([window * wave, window, wave])[:, None])
    >>> found["localized"], found["oriented"], found["wavelike"]
    (array([1., 1., 0.]), array([1., 0., 1.]), array([1., 0., 0.]))
    """
    u = array_of(filters)
    if u.ndim < 3 or 0 in u.shape[-3:] or min(u.shape[-2:]) < 2:
        raise ShapeError(
            f"got filters of shape {u.shape}, expected (..., c, h, w) of at least one channel and "
            "2x2 pixels; give one filter of one channel as filter[None]"
        )
    spread, coherence = _spread_and_coherence(u)
    undefined = np.isnan(spread)
    if undefined.any():
        count = f"{undefined.sum()} of {undefined.size} filters"
        warn(f"{count} are zero or not finite; their numbers are NaN")
    h, w = u.shape[-2:]
    if min(h, w) < MIN_SIDE:
        warn(
            f"got filters of {h}x{w} pixels, expected sides of {MIN_SIDE} or more; smaller ones "
            "cannot be distinguished from noise: localized, oriented and wavelike are NaN"
        )
        undefined = np.full(undefined.shape, True)
    one = np.where(undefined, np.nan, 1.0)
    localized, oriented = one * (spread < MAX_SPREAD), one * (coherence > MIN_COHERENCE)
    return {
        "spread": spread,
        "coherence": coherence,
        "localized": localized,
        "oriented": oriented,
        "wavelike": localized * oriented,
    }


def _spread_and_coherence(u: Values) -> tuple[Values, Values]:
    """Return both numbers of (..., c, h, w) filters, NaN where they are zero or not finite."""
    largest = np.abs(u).max((-3, -2, -1), keepdims=True)
    defined = np.isfinite(largest) & (largest > 0)
    u = np.where(defined, u, 0.0) / np.where(defined, largest, np.nan)
    squares = np.square(u)
    border = [(0, 0)] * (u.ndim - 2) + [(1, 1)] * 2
    _, coherence = stripes(np.pad(u, border), squares.sum((-3, -2, -1)))
    return _spread(squares.sum(-3)), coherence


def _spread(squares: Values) -> Values:
    """Return the largest eigenvalue of the covariance of the position in (..., h, w) squares."""
    p = squares / squares.sum((-2, -1), keepdims=True)
    y, x = (_positions(side) for side in p.shape[-2:])
    rows, columns = p.sum(-1), p.sum(-2)
    mean_y, mean_x = rows @ y, columns @ x
    yy, xx = rows @ y**2 - mean_y**2, columns @ x**2 - mean_x**2
    yx = (p @ x) @ y - mean_y * mean_x
    spread: Values = (yy + xx) / 2 + np.hypot((yy - xx) / 2, yx)
    return np.maximum(spread, 0.0)


def _positions(side: int) -> Values:
    """Return the positions of the pixels of a side, with mean 0 and variance 1."""
    positions: Values = (np.arange(side) - (side - 1) / 2) / np.sqrt((side**2 - 1) / 12)
    return positions
