"""Similarity of a profile to those of random filters that are as smooth."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.numerics.profiles.beyond_theory import correlate_residuals, theory_residuals
from repsim_energy.numerics.profiles.energy import profile_similarities
from repsim_energy.numerics.profiles.fit import fit_profiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["draw_smooth_filters", "smooth_thresholds"]

DRAWS, MIN_DRAWS = 400, 100
"""Number of banks that are drawn, and the least number for large ones."""

MAX_WEIGHTS = 2**26
"""Weights of all draws together, from which there are fewer of them."""

CHUNK_WEIGHTS = 2**22
"""Weights that are drawn at once, which bounds the memory."""

LEVEL = 0.95
"""Share of the draws below a threshold."""


def draw_smooth_filters(filters: Array, draws: int, random: np.random.Generator) -> Array:
    r"""Draw normal filters with the correlations of a bank between neighbors and between channels.

    The covariance of two weights is :math:`R_{cc'}\,\rho_y^{|y - y'|}\,\rho_x^{|x - x'|}`, with the
    correlation matrix R of the channels and the correlations :math:`\rho` of weights above each
    other and beside each other, all without subtraction of a mean.

    Parameters
    ----------
    filters : (k, c, kh, kw), not all zero

    Returns
    -------
    (draws, k, c, kh, kw)
    """
    k, c, rows, columns = filters.shape
    power = np.einsum("kcyx,kdyx->cd", filters, filters)
    scale = np.sqrt(np.diag(power))
    scale = np.where(scale > 0, scale, 1)
    values, vectors = np.linalg.eigh(power / np.outer(scale, scale))
    colors = vectors * np.sqrt(values.clip(0))
    above = _root(_correlation(filters[:, :, :-1], filters[:, :, 1:]), rows)
    beside = _root(_correlation(filters[..., :-1], filters[..., 1:]), columns)
    noise = random.normal(size=(draws, k, c, rows, columns))
    smooth: Array = np.einsum("cd,yv,xu,nkdvu->nkcyx", colors, above, beside, noise, optimize=True)
    return smooth


def _correlation(one: Array, other: Array) -> float:
    """Return the correlation of two arrays of weights, 0 where one has none."""
    norm = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / norm) if norm else 0.0


def _root(correlation: float, size: int) -> Array:
    """Return a root of the matrix of the powers of a correlation."""
    lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    values, vectors = np.linalg.eigh(correlation**lag)
    root: Array = vectors * np.sqrt(values.clip(0))
    return root


def smooth_thresholds(
    filters: Array, components: Array, eigenvalues: Array, *, draws: int | None = None
) -> tuple[float, float]:
    """Return r and r beyond theory that 95% of random filters as smooth as a bank do not exceed.

    Parameters
    ----------
    filters : (k, c, kh, kw), whose profile is compared with those of the draws
    components, eigenvalues : (d, c, kh, kw) and (d,) of the patch basis, without NaN
    draws : 400 by default, down to 100 for banks of more than 168,000 weights

    Returns
    -------
    tuple
        NaN for filters of zeros; the second is NaN if the theory describes too few draws, or not
        the bank: fewer than half of the correlations are defined
    """
    if not filters.any():
        return np.nan, np.nan
    if draws is None:
        draws = max(MIN_DRAWS, min(DRAWS, MAX_WEIGHTS // filters.size))
    random, at_once = np.random.default_rng(0), max(1, CHUNK_WEIGHTS // filters.size)
    counts = [min(at_once, draws - start) for start in range(0, draws, at_once)]
    drawn = (draw_smooth_filters(filters, count, random) for count in counts)
    profiles = np.concatenate(
        [_profiles(bank, components) for bank in chain([filters[None]], drawn)]
    )
    fits = fit_profiles(profiles, eigenvalues)
    curves = np.stack([fit.profile for fit in fits])
    residuals = theory_residuals(profiles, curves, np.array([fit.correlation for fit in fits]))
    beyond = correlate_residuals(residuals)[0][0, 1:]
    defined = beyond[np.isfinite(beyond)]
    threshold = np.quantile(defined, LEVEL) if 2 * len(defined) >= draws else np.nan
    r = profile_similarities(profiles)[0, 1:]
    return float(np.quantile(r, LEVEL)), float(threshold)


def _profiles(banks: Array, components: Array) -> Array:
    """Return the (n, d) energy profiles of (n, k, c, kh, kw) banks."""
    responses = banks.reshape(*banks.shape[:2], -1) @ components.reshape(len(components), -1).T
    profiles: Array = np.sqrt((responses**2).mean(1))
    return profiles
