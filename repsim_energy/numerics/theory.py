"""The published curve of the linear CNN, its limit, and its fit to a measured profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.energy import profile_similarity

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from repsim_energy.interfaces import PatchBasis

__all__ = ["ProfileFit", "fit_profile", "theoretical_profile", "whitening_filters"]

GRID_POINTS = 512
"""Steps tried before refinement, evenly spaced in log t; neighbours differ by a few per cent."""

CONVERGED = 1e-6
"""What is left of the slowest component at the last step searched."""

SMALLEST_EIGENVALUE = 1e-12
"""Relative to the largest; a component below it never converges and does not set the range."""


@dataclass(frozen=True, eq=False)
class ProfileFit:
    """The theoretical profile closest to a measured one.

    Parameters
    ----------
    correlation : Pearson correlation of the two
    steps : the number of gradient steps t of the best curve (real-valued)
    step_size : the step size that was held fixed
    profile : (d,) the best curve, scaled to a maximum of 1
    at_bound : True where the best t is the first or the last one searched
    """

    correlation: float
    steps: float
    step_size: float
    profile: NDArray[np.float64]
    at_bound: bool


def theoretical_profile(
    eigenvalues: ArrayLike, *, step_size: float, steps: ArrayLike
) -> NDArray[np.float64]:
    r"""Return the energy profile of a linear CNN after t steps of gradient descent.

    .. math:: e_i(t) = \frac{|1 - (1 - \eta\lambda_i^2)^t|}{\eta\lambda_i^2}\,\lambda_i

    Source: Chowers & Weiss (2023), Theorem 4.2, Equation 3. The published denominator is
    :math:`\eta^2\lambda_i^2`; the factor does not depend on i, and only the shape of the curve is
    defined. As :math:`t \to \infty` it becomes :math:`1/\lambda_i`: whitening.

    Parameters
    ----------
    eigenvalues : (d,) :math:`\lambda_i^2 \ge 0`, the patch variance along each component
    step_size : :math:`\eta`, with :math:`0 < \eta\lambda_\max^2 < 1`
    steps : t >= 0, a number or (m,) numbers, not necessarily whole

    Returns
    -------
    (d,) for one t, (m, d) for many, in arbitrary units

    Examples
    --------
    >>> theoretical_profile([4.0, 1.0], step_size=0.1, steps=1)
    array([2., 1.])
    >>> theoretical_profile([4.0, 1.0], step_size=0.1, steps=1000) * 0.1
    array([0.5, 1. ])
    """
    variance = _checked_eigenvalues(eigenvalues)
    if not 0 < step_size * variance.max() < 1:
        raise UsageError(
            f"step size {step_size:.4g} gives {step_size * variance.max():.4g} times the largest "
            f"eigenvalue, expected between 0 and 1; use less than {1 / variance.max():.4g}"
        )
    t = np.asarray(steps, dtype=np.float64)
    if not np.all(t >= 0):
        raise UsageError("steps hold a negative number or NaN, expected numbers >= 0")
    x = step_size * variance
    learned = -np.expm1(t[..., None] * np.log1p(-x))  # 1 - (1 - x)^t without cancellation
    slope = np.divide(learned, x, out=np.repeat(t[..., None], len(x), axis=-1), where=x > 0)
    curve: NDArray[np.float64] = slope * np.sqrt(variance)
    return curve


def fit_profile(
    profile: ArrayLike, eigenvalues: ArrayLike, *, step_size: float | None = None
) -> ProfileFit:
    r"""Return the step t at which the theoretical profile correlates best with a measured one.

    The step size is held fixed, t runs from 1 (where the curve is :math:`\lambda_i`) to where its
    slowest component has converged to within 1e-6 (where it is :math:`1/\lambda_i`). A grid in
    log t, evaluated at once, is followed by a bounded refinement around its best points.

    Source: Chowers & Weiss (2023), section 5 and Table 3.

    Parameters
    ----------
    profile : (d,) a measured energy profile
    eigenvalues : (d,) of the basis it was measured on
    step_size : :math:`\eta`; by default :math:`1 / (2\lambda_\max^2)`

    Returns
    -------
    ProfileFit
        With a correlation of NaN (and a FlatProfileWarning) for a flat profile.

    Examples
    --------
    >>> eigenvalues = np.geomspace(1.0, 1e-4, 27)
    >>> fit = fit_profile(theoretical_profile(eigenvalues, step_size=0.5, steps=300), eigenvalues)
    >>> round(fit.correlation, 9), round(fit.steps), fit.at_bound
    (1.0, 300, False)
    """
    variance = _checked_eigenvalues(eigenvalues)
    measured = np.asarray(profile, dtype=np.float64)
    if measured.shape != variance.shape:
        raise ShapeError(
            f"profile has shape {measured.shape} but there are {len(variance)} eigenvalues; "
            "give those of the basis that the profile was measured on"
        )
    eta = 0.5 / float(variance.max()) if step_size is None else step_size

    slowest = eta * max(variance.min(), SMALLEST_EIGENVALUE * variance.max())
    log_steps = np.linspace(0.0, np.log(np.log(CONVERGED) / np.log1p(-slowest)), GRID_POINTS)

    def correlation(log_t: float) -> float:
        curve = theoretical_profile(variance, step_size=eta, steps=np.exp(log_t))
        return profile_similarity(measured, curve)

    def found(log_t: float) -> ProfileFit:
        curve = theoretical_profile(variance, step_size=eta, steps=np.exp(log_t))
        bounds = log_steps[[0, -1]]
        at_bound = bool(np.isclose(log_t, bounds, atol=1e-3).any())
        return ProfileFit(
            correlation(log_t), float(np.exp(log_t)), eta, curve / curve.max(), at_bound
        )

    curves = theoretical_profile(variance, step_size=eta, steps=np.exp(log_steps))
    scores = _correlations(measured, curves)
    if not np.isfinite(scores).any():
        return found(log_steps[0])
    candidates = [log_steps[np.nanargmax(scores)]]
    candidates += [_refined(correlation, log_steps, peak) for peak in _peaks(scores)]
    return found(max(candidates, key=correlation))


def _correlations(
    measured: NDArray[np.float64], curves: NDArray[np.float64]
) -> NDArray[np.float64]:
    centered = curves - curves.mean(axis=1, keepdims=True)
    target = measured - measured.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        scores: NDArray[np.float64] = (
            centered @ target / (np.linalg.norm(centered, axis=1) * np.linalg.norm(target))
        )
    return scores


def _peaks(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the up to three highest local maxima of a sequence."""
    padded = np.concatenate([[-np.inf], np.nan_to_num(scores, nan=-np.inf), [-np.inf]])
    peaks = np.flatnonzero((padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:]))
    order: NDArray[np.intp] = peaks[np.argsort(padded[1:-1][peaks])[::-1][:3]]
    return order


def _refined(score: Callable[[float], float], grid: NDArray[np.float64], peak: int) -> float:
    low, high = grid[max(peak - 1, 0)], grid[min(peak + 1, len(grid) - 1)]
    best = minimize_scalar(
        lambda x: -score(x), bounds=(low, high), method="bounded", options={"xatol": 1e-9}
    )
    return float(best.x)


def whitening_filters(basis: PatchBasis) -> Tensor:
    r"""Return the filter bank of the limit :math:`t \to \infty`: :math:`w_i = u_i / \lambda_i`.

    Its responses at one place are uncorrelated and have variance 1.

    Source: Chowers & Weiss (2023), Theorem 4.3.

    Parameters
    ----------
    basis : of the patches to whiten

    Returns
    -------
    (d, c, kh, kw) float64

    Raises
    ------
    DataError
        Where a component has no variance.
    """
    variance = basis.eigenvalues
    if not variance.min() > SMALLEST_EIGENVALUE * variance.max():
        raise DataError(
            "a component of the patches has no variance and cannot be whitened; use more images, "
            "or images of independent channels"
        )
    return (basis.components / variance.sqrt()[:, None]).view(-1, *basis.patch)


def _checked_eigenvalues(eigenvalues: ArrayLike) -> NDArray[np.float64]:
    variance = np.asarray(eigenvalues, dtype=np.float64)
    if variance.ndim != 1 or len(variance) == 0:
        raise ShapeError(f"eigenvalues have shape {variance.shape}, expected (d,)")
    if not (np.isfinite(variance).all() and variance.min() >= 0 and variance.max() > 0):
        raise DataError(
            "eigenvalues hold NaN, infinite or negative values or are all zero, expected the "
            "variances of a patch basis"
        )
    return variance
