"""The step of the theoretical profile that is closest to measured profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import ShapeError
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.profiles.energy import measured, profile_similarity, split_defined
from repsim_energy.numerics.profiles.theory import (
    SMALLEST_EIGENVALUE,
    check_eigenvalues,
    theoretical_profile,
)
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ProfileFit", "fit_profile", "fit_profiles"]

GRID_POINTS = 256
"""Steps tried before refinement, evenly spaced in log t; neighbors differ by a few per cent."""

PEAKS = 3
"""Local maxima of the grid that are refined."""

ZOOM_POINTS, ZOOMS = 17, 2
"""Each zoom leaves an eighth of the interval; the vertex of a parabola does the rest."""

CONVERGED, LIMIT = 1e-6, 1e-16
"""What is left of the slowest component at the end of the grid, and at the last step searched."""

AT_ONCE = 256
"""Profiles refined together, so that memory does not grow with their number."""


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """The theoretical profile closest to a measured one.

    Parameters
    ----------
    correlation : Pearson correlation of the two
    steps : the number of gradient steps t of the best curve (real-valued)
    step_size : the step size that was held fixed
    profile : (d,) the best curve, scaled to a maximum of 1
    at_bound : True where the best t is the first one searched, or lies beyond convergence;
        False where there is no best t
    """

    correlation: float
    steps: float
    step_size: float
    profile: NDArray[np.float64]
    at_bound: bool


def fit_profile(
    profile: ArrayLike, eigenvalues: ArrayLike, *, step_size: float | None = None
) -> ProfileFit:
    r"""Return the step t at which the theoretical profile correlates best with a measured one.

    The step size is held fixed, t runs from 1 (where the curve is :math:`\lambda_i`) to where its
    slowest component has converged (where it is :math:`1/\lambda_i`). A grid in log t, evaluated
    at once, is followed by finer ones around its best points.

    Source: Chowers & Weiss (2023), section 5 and Table 3.

    Parameters
    ----------
    profile : (d,) a measured energy profile
    eigenvalues : (d,) of the basis it was measured on. Components where both are NaN are left out:
        results mark components without variance so.
    step_size : :math:`\eta`; by default :math:`1 / (2\lambda_\max^2)`

    Returns
    -------
    ProfileFit
        All NaN, with a FlatProfileWarning, for a profile that is constant or not finite.

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
    """Return the fit of each of the (m, d) profiles on one basis; see :func:`fit_profile`.

    The curves are computed once for all.
    """
    variance, profiles = array_of(eigenvalues), array_of(profiles)
    if profiles.ndim != 2 or profiles.shape[1:] != variance.shape:
        raise ShapeError(
            f"profile has shape {profiles.shape[1:]} but there are {variance.size} eigenvalues; "
            "give those of the basis that the profile was measured on"
        )
    known = measured(profiles) | ~np.isnan(variance)
    variance, profiles = check_eigenvalues(variance[known]), np.compress(known, profiles, axis=1)
    eta = 0.5 / float(variance.max()) if step_size is None else step_size
    slowest = eta * max(variance.min(), SMALLEST_EIGENVALUE * variance.max())
    converged, last = np.log(np.log([CONVERGED, LIMIT]) / np.log1p(-slowest))
    grid = np.append(np.linspace(0.0, converged, GRID_POINTS), last)
    directions = _unit(theoretical_profile(variance, step_size=eta, steps=np.exp(grid)))
    searched, defined = split_defined(profiles)
    best = [
        _best(part, variance, eta, grid, directions)
        for part in np.split(searched, range(AT_ONCE, len(searched), AT_ONCE))
    ]
    log_steps = np.concatenate(best)
    curves = theoretical_profile(variance, step_size=eta, steps=np.exp(log_steps))
    log_steps[~defined], curves[~defined] = np.nan, np.nan
    at_bound = ((log_steps < 1e-3) | (log_steps > converged - 1e-3)).tolist()
    return [
        ProfileFit(profile_similarity(p, curve), float(np.exp(t)), eta, curve / curve.max(), bound)
        for p, curve, t, bound in zip(profiles, curves, log_steps, at_bound, strict=True)
    ]


def _best(
    measured: NDArray[np.float64],
    variance: NDArray[np.float64],
    eta: float,
    grid: NDArray[np.float64],
    directions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the (m,) best log t: that of the best of the refined peaks of each profile."""
    targets = _unit(measured)
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
    found = tried[row, top] + vertex * (high - low) / 4
    score = scores[row, top]
    order = np.lexsort((score, which))  # the last of each profile is its best
    last = np.searchsorted(which[order], np.arange(len(measured)), "right") - 1
    best: NDArray[np.float64] = found[order[last]]
    return best


def _peaks(scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row and column of the highest local maxima of each row."""
    padded = np.pad(scores, ((0, 0), (1, 1)), constant_values=-np.inf)
    is_peak = (scores >= padded[:, :-2]) & (scores >= padded[:, 2:])
    heights = np.where(is_peak, scores, -np.inf)
    columns = np.argpartition(-heights, PEAKS - 1, axis=1)[:, :PEAKS]
    rows = np.repeat(np.arange(len(scores)), PEAKS).reshape(columns.shape)
    kept = is_peak[rows, columns]
    return rows[kept], columns[kept]


def _unit(curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return curves less their mean, of length 1; zero where they do not vary."""
    centered = curves - curves.mean(-1, keepdims=True)
    norms = np.linalg.norm(centered, axis=-1, keepdims=True)
    unit: NDArray[np.float64] = centered / np.where(norms > 0, norms, 1.0)
    return unit
