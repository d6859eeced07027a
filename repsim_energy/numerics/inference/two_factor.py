"""Intervals of mean similarities over two crossed factors: networks and images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Estimate", "Variance", "between", "difference", "interval", "two_factor", "within"]

Numbers = NDArray[np.float64]

MIN_DISTANCE = 1e-12
"""Distance of a mean from 1 or -1, squared, below which Fisher's z is infinite for rounding."""


class Estimate(NamedTuple):
    """Mean similarity, and how much each network moves it.

    Parameters
    ----------
    mean : (...)
    influences : for each set of networks that vary independently (..., n): their sum of squares is
        the variance of the mean. A single network does not vary
    twice : (...) the part of that sum that both sets of networks count
    """

    mean: Numbers
    influences: tuple[Numbers, ...]
    twice: Numbers


class Variance(NamedTuple):
    """Variance of a mean similarity, and the degrees of freedom behind it.

    Parameters
    ----------
    value : (...), NaN where nothing varies or networks that vary cannot be told from pairs
    df : (...) degrees of freedom
    networks : (...) variance over networks, for the same images
    images : (...) variance over images, for the same networks; NaN without half-samples
    both : (...) variance of a bootstrap that draws networks and images, uncorrected
    """

    value: Numbers
    df: Numbers
    networks: Numbers
    images: Numbers
    both: Numbers


def between(table: Numbers) -> Estimate:
    r"""Return the mean similarity of the networks of two models.

    For :math:`s_{ij} = \mu + \alpha_i + \beta_j + \gamma_{ij}` the mean has the variance

    .. math:: \frac{\sigma_\alpha^2}{n} + \frac{\sigma_\beta^2}{m} + \frac{\sigma_\gamma^2}{nm}
        = V_a + V_b - V_{ab}

    :math:`V_a = \sum_i (\bar s_{i\cdot} - \bar s)^2 / (n (n - 1))` is what a bootstrap over the
    first networks gives, times n / (n - 1). Like :math:`V_b` it contains :math:`V_{ab}`, the
    mean square of the rest by nm, which is thus counted twice.

    Parameters
    ----------
    table : (..., n, m) similarities; NaN for those that are undefined
    """
    n, m = table.shape[-2:]
    rows, columns, mean = _mean(table, -1), _mean(table, -2), _mean(table, (-2, -1))
    influences = tuple(
        (means - mean[..., None]) / math.sqrt(max(1, k * (k - 1)))
        for means, k in ((rows, n), (columns, m))
    )
    rest = table - rows[..., None] - columns[..., None, :] + mean[..., None, None]
    if n == 1 or m == 1:
        return Estimate(mean, influences, np.zeros(mean.shape))
    return Estimate(mean, influences, np.nansum(rest**2, (-2, -1)) / ((n - 1) * (m - 1) * n * m))


def within(table: Numbers) -> Estimate:
    r"""Return the mean similarity of different networks of one model.

    Every pair of different networks counts once, and a network is never paired with itself. The
    variance over networks is that of the jackknife, which leaves out one network after the other:

    .. math:: \frac{n - 1}{n} \sum_i (\bar s_{(-i)} - \bar s)^2, \qquad
        \bar s_{(-i)} - \bar s = -\frac{2 (\bar s_{i\cdot} - \bar s)}{n - 2}

    It is too large by what is particular to single pairs, and exact where similarities are sums of
    one number for each network. It is NaN for two networks, which have one pair.

    Parameters
    ----------
    table : (..., n, n) similarities, whose mean with the transpose is used; the diagonal is not
    """
    n = table.shape[-1]
    pairs = np.where(np.eye(n, dtype=bool), np.nan, (table + table.swapaxes(-1, -2)) / 2)
    rows, mean = _mean(pairs, -1), _mean(pairs, (-2, -1))
    if n < 3:
        return Estimate(mean, (np.full((*mean.shape, n), np.nan),), np.zeros(mean.shape))
    influence = 2 * (rows - mean[..., None]) / (n - 2) * math.sqrt((n - 1) / n)
    return Estimate(mean, (influence,), np.zeros(mean.shape))


def difference(cross: Estimate, *of_models: Estimate | None) -> Estimate:
    """Return the mean between two models less the mean within them, averaged over the models.

    Parameters
    ----------
    cross : of :func:`between`
    of_models : of :func:`within` for each of the two models; ``None`` for one that is left out
    """
    used = [one for one in of_models if one is not None]
    mean = cross.mean - sum(one.mean for one in used) / len(used)
    influences = tuple(
        side if one is None else side - one.influences[0] / len(used)
        for side, one in zip(cross.influences, of_models, strict=True)
    )
    return Estimate(mean, influences, cross.twice)


def two_factor(whole: Estimate, halves: Estimate | None = None) -> Variance:
    r"""Return the variance of a mean similarity over networks and images.

    .. math:: V = 2 (V_\text{networks} + V_\text{images}) - V_\text{both}

    bounded by the larger of :math:`V_\text{networks}` and :math:`V_\text{images}`, and by
    :math:`V_\text{both}`, the variance of a bootstrap that draws networks and images at once. Each
    of the first two contains the interaction :math:`V_{ni}` once, and :math:`V_\text{both}` three
    times, as the variance does once. With :math:`V_\text{both} = V_\text{networks} +
    V_\text{images} + V_{ni}` no draws are needed: :math:`V_\text{images}` is the variance of the
    means of half-samples, and :math:`V_{ni}` the mean variance over networks of what half-samples
    change.

    The degrees of freedom are those of Satterthwaite,

    .. math:: V^2 \Big/ \sum_f \frac{V_f^2}{\nu_f + 2} - 2

    over the factors f (each set of networks, and images), and at least the smallest of
    :math:`\nu_f`, as :math:`V_f^2` is on average :math:`1 + 2 / \nu_f` times too large.

    Source: Schütt, Kipnis, Diedrichsen and Kriegeskorte (2023), "Statistical inference on
    representational geometries"; doi:10.7554/eLife.82566.

    Source: Satterthwaite (1946), "An approximate distribution of estimates of variance components";
    doi:10.2307/3002019.

    Parameters
    ----------
    whole : for all images
    halves : for the half-samples of :func:`half_samples`, along the first axis, less their mean
    """
    parts = [(_square(one), one.shape[-1] - 1) for one in whole.influences if one.shape[-1] > 1]
    networks = _over_networks(whole)
    images = interaction = np.full(whole.mean.shape, np.nan)
    value = both = networks if parts else images
    if halves is not None:
        count = len(halves.mean) - 1
        images = np.asarray(np.square(halves.mean).sum(0) / count)
        interaction = _over_networks(halves).sum(0) / count
        both = networks + images + interaction
        value = np.clip(networks + images - interaction, np.maximum(networks, images), both)
        parts.append((images, count))
    if not parts:
        return Variance(value, np.full(value.shape, np.nan), networks, images, both)
    smallest = min(df for _, df in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.square(value) / sum(np.square(part) / (df + 2) for part, df in parts) - 2
    df = np.fmax(df, smallest)  # without any variance: the smallest
    return Variance(value, np.where(np.isnan(value), np.nan, df), networks, images, both)


def _over_networks(estimate: Estimate) -> Numbers:
    """Return the variance over networks, between the largest of one set and the sum of all."""
    parts = [_square(one) for one in estimate.influences if one.shape[-1] > 1]
    if not parts:
        return np.zeros(estimate.mean.shape)
    total = np.asarray(sum(parts))
    return np.clip(total - estimate.twice, np.max(parts, axis=0), total)


def interval(
    mean: Numbers, variance: Variance, bounds: tuple[float, float], level: float = 0.95
) -> tuple[Numbers, Numbers]:
    """Return the ends of the confidence intervals of mean similarities.

    For bounds of -1 and 1 the interval is symmetric on the scale of Fisher's z, the inverse
    hyperbolic tangent. Otherwise it is symmetric, and clipped to the bounds.

    Parameters
    ----------
    mean : (...)
    variance : of :func:`two_factor`
    bounds : lowest and highest possible value
    level : probability that an interval contains the mean of all networks and images
    """
    reach = stdtrit(variance.df, 0.5 + level / 2) * np.sqrt(variance.value)
    low, high = np.maximum(mean - reach, bounds[0]), np.minimum(mean + reach, bounds[1])
    if tuple(bounds) == (-1.0, 1.0):
        slope = 1 - np.square(mean)
        inside = slope > MIN_DISTANCE
        z = np.arctanh(np.where(inside, mean, 0.0))
        step = reach / np.where(inside, slope, 1.0)
        low = np.where(inside, np.tanh(z - step), low)
        high = np.where(inside, np.tanh(z + step), high)
    undefined = np.isnan(reach)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def _square(influence: Numbers) -> Numbers:
    return np.asarray(np.square(influence).sum(-1))


def _mean(values: Numbers, axes: int | tuple[int, ...]) -> Numbers:
    """Return the mean of the numbers that are not NaN, NaN where there is none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, values, 0.0).sum(axes) / known.sum(axes)
    return np.asarray(mean)
