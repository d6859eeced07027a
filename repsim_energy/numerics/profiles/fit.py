"""Fit of the theoretical profile to measured profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.profiles.energy import profile_similarity, varying_profiles, with_value
from repsim_energy.numerics.profiles.theory import (
    SMALLEST_EIGENVALUE,
    check_eigenvalues,
    theoretical_profile,
)
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ProfileFit", "fit_profile", "fit_profiles"]

MIN_RATE = 1e-30
"""Smallest step size, times the largest eigenvalue, whose times can be computed with."""

GRID_POINTS = 256
"""Numbers of steps t that are tried first, evenly spaced in log t, a few percent apart."""

MAX_PEAKS = 3
"""Local maxima of the correlation on the grid that are refined."""

ZOOM_POINTS, ZOOMS = 17, 2
"""Points of each finer grid, which spans an eighth of the one before, and how many there are. The
vertex of a parabola through the best three points is the result."""

CONVERGED_REST, LAST_REST = 1e-6, 1e-16
"""Part of the slowest component that is not learned at the end of the grid and at the last t."""

BATCH_PROFILES = 256
"""Profiles that are refined together, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """Theoretical profile that correlates best with a measured one.

    Parameters
    ----------
    correlation : Pearson correlation of the two
    steps : the number of gradient steps t of the best curve, a real number
    step_size : the step size of the curve, which is not fitted
    profile : (d,) the best curve, scaled to a maximum of 1
    at_bound : True where the best t is the first one searched, or is beyond convergence. False
        also where the fit is undefined

    Examples
    --------
    >>> fit = fit_profile([3.0, 2.0, 1.0], [9.0, 4.0, 1.0])
    >>> round(fit.correlation, 6), round(fit.steps), fit.at_bound
    (1.0, 1, True)
    """

    correlation: float
    steps: float
    step_size: float
    profile: NDArray[np.float64]
    at_bound: bool

    __repr__ = short_repr


def fit_profile(
    profile: ArrayLike, eigenvalues: ArrayLike, *, step_size: float | None = None
) -> ProfileFit:
    r"""Return the theoretical profile that correlates best with a measured one.

    .. math:: \max_t\ r\bigl(e,\ e(t)\bigr),\qquad
        e_i(t) = \frac{|1 - (1 - \eta\lambda_i^2)^t|}{\eta\lambda_i^2}\,\lambda_i

    The step size :math:`\eta` is fixed. The number of steps t runs from 1, where the curve is
    :math:`\lambda_i`, to where the slowest component has converged and the curve is
    :math:`1/\lambda_i`. A grid in log t is followed by finer ones around its best points.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 5 and Table 3; arXiv:2206.02454.

    Parameters
    ----------
    profile : (d,) a measured energy profile
    eigenvalues : (d,) :math:`\lambda_i^2` of the basis it was measured on. Components where both
        are NaN are left out: in results these are components without variance.
    step_size : :math:`\eta`; by default :math:`1 / (2\lambda_\max^2)`

    Returns
    -------
    ProfileFit
        All NaN, with a FlatProfileWarning, for a profile that is constant or not finite.

    Raises
    ------
    ShapeError
        For a profile that has not one number for each eigenvalue.
    DataError
        For eigenvalues that are negative, infinite or all zero.
    UsageError
        For a step size that does not keep :math:`0 < \eta\lambda_\max^2 < 1`.

    Warns
    -----
    FlatProfileWarning
        For a profile that is constant or not finite.

    Examples
    --------
    >>> eigenvalues = np.geomspace(1.0, 1e-4, 27)
    >>> fit = fit_profile(theoretical_profile(eigenvalues, step_size=0.5, steps=300), eigenvalues)
    >>> round(fit.correlation, 9), round(fit.steps), fit.at_bound
    (1.0, 300, False)
    """
    return fit_profiles(array_of(profile)[None], eigenvalues, step_size=step_size)[0]


@own_settings()
def fit_profiles(
    profiles: ArrayLike, eigenvalues: ArrayLike, *, step_size: float | None = None
) -> list[ProfileFit]:
    """Return the fit of each of several profiles, as :func:`fit_profile` does.

    The curves are computed once for all profiles.

    Parameters
    ----------
    profiles : (m, d) measured energy profiles, one a row
    eigenvalues : (d,) of the basis they were measured on. Components where these or all profiles
        are NaN are left out
    step_size : as of :func:`fit_profile`

    Returns
    -------
    A list of m :class:`ProfileFit`

    Raises
    ------
    ShapeError
        For profiles that have not one number for each eigenvalue.
    DataError
        For eigenvalues that are negative, infinite or all zero.
    UsageError
        For a step size that does not fit the eigenvalues.

    Warns
    -----
    FlatProfileWarning
        For a profile that is constant or not finite.

    Examples
    --------
    >>> eigenvalues = np.geomspace(1.0, 1e-4, 27)
    >>> curves = theoretical_profile(eigenvalues, step_size=0.5, steps=[10, 300])
    >>> [round(fit.steps) for fit in fit_profiles(curves, eigenvalues)]
    [10, 300]
    """
    variance, profiles = array_of(eigenvalues), array_of(profiles)
    if profiles.ndim != 2 or profiles.shape[1:] != variance.shape:
        raise ShapeError(
            f"profile has shape {profiles.shape[1:]} but there are {variance.size} eigenvalues; "
            "give those of the basis that the profile was measured on"
        )
    known = with_value(profiles) | ~np.isnan(variance)
    variance, profiles = check_eigenvalues(variance[known]), np.compress(known, profiles, axis=1)
    eta = 0.5 / float(variance.max()) if step_size is None else step_size
    if 0 < eta * variance.max() < MIN_RATE:
        raise UsageError(
            f"step size {eta:.4g} gives {eta * variance.max():.4g} times the largest eigenvalue, "
            f"expected at least {MIN_RATE:g}; use a larger one"
        )
    slowest = eta * max(variance.min(), SMALLEST_EIGENVALUE * variance.max())
    converged, last = np.log(np.log([CONVERGED_REST, LAST_REST]) / np.log1p(-slowest))
    grid = np.append(np.linspace(0.0, converged, GRID_POINTS), last)
    directions = _unit(theoretical_profile(variance, step_size=eta, steps=np.exp(grid)))
    searched, defined = varying_profiles(profiles)
    best = [
        _best_log_steps(part, variance, eta, grid, directions)
        for part in np.split(searched, range(BATCH_PROFILES, len(searched), BATCH_PROFILES))
    ]
    log_steps = np.concatenate(best)
    curves = theoretical_profile(variance, step_size=eta, steps=np.exp(log_steps))
    log_steps[~defined], curves[~defined] = np.nan, np.nan
    at_bound = ((log_steps < 1e-3) | (log_steps > converged - 1e-3)).tolist()
    return [
        ProfileFit(profile_similarity(p, curve), float(np.exp(t)), eta, curve / curve.max(), bound)
        for p, curve, t, bound in zip(profiles, curves, log_steps, at_bound, strict=True)
    ]


def _best_log_steps(
    profiles: NDArray[np.float64],
    variance: NDArray[np.float64],
    eta: float,
    grid: NDArray[np.float64],
    directions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (m,) the log t of the highest refined peak of each of (m, d) profiles."""
    targets = _unit(profiles)
    which, peak = _peaks(targets @ directions.T)
    wanted = targets[which]
    low, high = grid[np.maximum(peak - 1, 0)], grid[np.minimum(peak + 1, len(grid) - 1)]
    row = np.arange(len(which))
    for _ in range(ZOOMS):
        tried = np.linspace(low, high, ZOOM_POINTS, axis=1)
        curves = _unit(theoretical_profile(variance, step_size=eta, steps=np.exp(tried)))
        scores = np.einsum("pzd,pd->pz", curves, wanted)
        top = scores.argmax(1)
        near = np.clip(top, 1, ZOOM_POINTS - 2)
        low, high = tried[row, near - 1], tried[row, near + 1]
    before, at, after = (scores[row, near + step] for step in (-1, 0, 1))
    inside = (top == near) & (2 * at > before + after)
    vertex = np.divide(before - after, before - 2 * at + after, out=np.zeros_like(at), where=inside)
    refined = tried[row, top] + vertex * (high - low) / 4
    score = scores[row, top]
    order = np.lexsort((score, which))  # each profile's best peak comes last
    last = np.searchsorted(which[order], np.arange(len(profiles)), "right") - 1
    best: NDArray[np.float64] = refined[order[last]]
    return best


def _peaks(scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of the ``MAX_PEAKS`` highest local maxima of each row."""
    padded = np.pad(scores, ((0, 0), (1, 1)), constant_values=-np.inf)
    is_peak = (scores >= padded[:, :-2]) & (scores >= padded[:, 2:])
    heights = np.where(is_peak, scores, -np.inf)
    columns = np.argpartition(-heights, MAX_PEAKS - 1, axis=1)[:, :MAX_PEAKS]
    rows = np.repeat(np.arange(len(scores)), MAX_PEAKS).reshape(columns.shape)
    real = is_peak[rows, columns]
    return rows[real], columns[real]


def _unit(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (..., d) curves scaled to mean 0 and length 1, and constant curves as 0."""
    centered = curves - curves.mean(-1, keepdims=True)
    norms = np.linalg.norm(centered, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = centered / np.where(norms > 0, norms, 1.0)
    return unit
