"""Correlation of what energy profiles have beyond their best theoretical profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import UndefinedSimilarityWarning, warn
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.profiles.energy import stack_profiles, with_value
from repsim_energy.numerics.profiles.fit import fit_profiles
from repsim_energy.numerics.profiles.null import pearson_null_interval
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["beyond_theory", "correlate_residuals", "theory_residuals"]

ZERO_ENERGY = 1e-6
"""Relative to the largest energy of a profile. Filters in float32 have more by rounding alone."""

ZERO_RESIDUAL = 1e-4
"""Standard deviation of residuals below which a profile is its theory: the fit of t and the
rounding of float32 filters leave as much."""

FIT_LEVEL = 0.995
"""Level of the null interval above which the theory describes a profile. With t fitted, 97.5% of
the profiles of white filters correlate less, between 9 and 147 components."""

MIN_COMPONENTS = 3
"""Two numbers always have the correlation 1 or -1."""


@own_settings()
def beyond_theory(
    a: ArrayLike, b: ArrayLike, eigenvalues: ArrayLike, *, step_size: float | None = None
) -> float:
    r"""Return the correlation of what two energy profiles have beyond the theory.

    .. math:: r_\perp = \operatorname{corr}\bigl(\log e_a - \log\hat e_a,\;
        \log e_b - \log\hat e_b\bigr)

    :math:`\hat e` is the best theoretical profile of a network, by :func:`fit_profile`. Profiles of
    unrelated networks correlate highly if both follow the theory, because both depend on the same
    eigenvalues. This correlation is that of the rest, which second-order statistics of the patches
    do not explain. For two linear CNNs with independent labels it is distributed about 0 as
    :func:`pearson_null_interval` says, for as many components.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.2; arXiv:2206.02454, for the theoretical profile.

    Components where an energy is zero, or less than 1e-6 of the largest, are left out. A profile
    that the theory does not describe has no such rest: what is left of it is mostly the misfit,
    which is the same for all such profiles.

    Parameters
    ----------
    a, b : (d,) energy profiles on one basis. Components where both are NaN are left out: in results
        these are components without variance
    eigenvalues : (d,) patch variance along each component of that basis
    step_size : of the theory, as of :func:`fit_profile`

    Returns
    -------
    float
        In [-1, 1]. NaN, with an :class:`UndefinedSimilarityWarning`, for fewer than three
        components, for a profile that equals its theoretical profile (up to 0.01 %), and for one
        that correlates with it no better than profiles of white filters do (97.5% of them; up to
        0.52 for 27 components).

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
    UndefinedSimilarityWarning
        If the correlation is undefined.
    FlatProfileWarning
        For a profile that is constant or not finite.

    Examples
    --------
    >>> eigenvalues = np.geomspace(1.0, 1e-3, 27)
    >>> random = np.random.default_rng(0)
    >>> theory = eigenvalues**0.5, eigenvalues**-0.5
    >>> same, one, other = np.exp(random.normal(0, 0.2, (3, 27)))
    >>> round(beyond_theory(theory[0] * same, theory[1] * same, eigenvalues), 2)
    0.97
    >>> round(beyond_theory(theory[0] * one, theory[0] * other, eigenvalues), 2)
    -0.18
    """
    profiles = stack_profiles(a, b)
    fits = fit_profiles(profiles, eigenvalues, step_size=step_size)
    known = with_value(profiles) | ~np.isnan(array_of(eigenvalues))
    curves = np.stack([fit.profile for fit in fits])
    fitted = np.array([fit.correlation for fit in fits])
    residuals = theory_residuals(profiles[:, known], curves, fitted)
    correlation = float(correlate_residuals(residuals)[0][0, 1])
    if np.isnan(correlation):
        common = int(np.isfinite(residuals).all(0).sum())
        warn(
            f"r beyond theory is undefined for profiles with r {fitted[0]:.3f} and {fitted[1]:.3f} "
            f"with theory, and {common} common components with energy: the theory does not "
            "describe one of them, or leaves nothing of it",
            UndefinedSimilarityWarning,
        )
    return correlation


def theory_residuals(
    profiles: NDArray[np.float64],
    curves: NDArray[np.float64],
    correlations: NDArray[np.float64],
    fitted: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return log(e) - log(ê), NaN for components without energy.

    All is NaN for profiles that the theory does not describe.

    Parameters
    ----------
    profiles : (..., d) energy profiles
    curves : (..., d) the best theoretical profile of each, on any scale
    correlations : (...) of each profile with its curve
    fitted : (...) numbers of components that these are over; by default those of the curves
    """
    fitted = np.isfinite(curves).sum(-1) if fitted is None else fitted
    components, which = np.unique(fitted, return_inverse=True)
    least = np.array([pearson_null_interval(n, level=FIT_LEVEL)[1] for n in components.tolist()])
    described = correlations > least[which.reshape(correlations.shape)]
    with np.errstate(invalid="ignore"):
        largest = np.fmax.reduce(profiles, axis=-1, keepdims=True, initial=0)
        known = (profiles > ZERO_ENERGY * largest) & (curves > 0) & np.isfinite(profiles)
    known &= described[..., None]
    residuals = np.full(profiles.shape, np.nan)
    residuals[known] = np.log(profiles[known]) - np.log(curves[known])
    return residuals


def correlate_residuals(
    residuals: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the correlations of all pairs of residuals, and their numbers of components.

    Parameters
    ----------
    residuals : (m, d); NaN for components that are left out of the pairs of a profile

    Returns
    -------
    tuple
        (m, m) correlations over the components that both profiles have, NaN where they are
        undefined, and (m, m) the numbers of these components
    """
    known = np.isfinite(residuals)
    used = known.astype(np.int64) @ known.T.astype(np.int64)
    correlations = np.full(used.shape, np.nan)
    patterns, pattern = np.unique(known, axis=0, return_inverse=True)
    members = [np.flatnonzero(pattern.ravel() == number) for number in range(len(patterns))]
    for rows, of_rows in zip(members, patterns, strict=True):
        for columns, of_columns in zip(members, patterns, strict=True):
            common = of_rows & of_columns
            if common.sum() >= MIN_COMPONENTS:
                a, b = (_standardized(residuals[np.ix_(one, common)]) for one in (rows, columns))
                correlations[np.ix_(rows, columns)] = np.clip(a @ b.T, -1, 1)
    return correlations, used


def _standardized(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (m, d) residuals with mean 0 and length 1, NaN for those that hardly vary."""
    centered = residuals - residuals.mean(1, keepdims=True)
    lengths = np.linalg.norm(centered, axis=1, keepdims=True)
    vary = lengths > ZERO_RESIDUAL * np.sqrt(residuals.shape[1])
    unit: NDArray[np.float64] = centered / np.where(vary, lengths, np.nan)
    return unit
