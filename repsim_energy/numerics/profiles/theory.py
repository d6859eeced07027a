"""Theoretical energy profile of a linear CNN, and the whitening filters that it converges to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from repsim_energy.interfaces import PatchBasis

__all__ = ["SMALLEST_EIGENVALUE", "check_eigenvalues", "theoretical_profile", "whitening_filters"]

SMALLEST_EIGENVALUE = 1e-12
"""Relative to the largest. Smaller ones never converge and do not extend the range of steps."""


@own_settings()
def theoretical_profile(
    eigenvalues: ArrayLike, *, step_size: float, steps: ArrayLike
) -> NDArray[np.float64]:
    r"""Return the energy profile of a linear CNN after t steps of gradient descent.

    .. math:: e_i(t) = \frac{|1 - (1 - \eta\lambda_i^2)^t|}{\eta\lambda_i^2}\,\lambda_i

    Only the shape of the curve is defined: the published denominator, :math:`\eta^2\lambda_i^2`,
    differs by a constant factor. As :math:`t \to \infty` the curve becomes :math:`1/\lambda_i`,
    which is whitening.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.2 and Equation 3; arXiv:2206.02454.

    Parameters
    ----------
    eigenvalues : (d,) :math:`\lambda_i^2 \ge 0`, the patch variance along each component
    step_size : :math:`\eta`, with :math:`0 < \eta\lambda_\max^2 < 1`
    steps : t >= 0, a number or (...) numbers, not necessarily whole

    Returns
    -------
    (d,) float64 for one t, (..., d) for many, in arbitrary units

    Raises
    ------
    ShapeError
        For eigenvalues that are not (d,).
    DataError
        For eigenvalues that are negative, not finite or all zero.
    UsageError
        For a step size outside of its range, and for negative steps.

    Examples
    --------
    >>> theoretical_profile([4.0, 1.0], step_size=0.1, steps=1)
    array([2., 1.])
    >>> theoretical_profile([4.0, 1.0], step_size=0.1, steps=1000) * 0.1
    array([0.5, 1. ])
    """
    variance = check_eigenvalues(eigenvalues)
    if not 0 < step_size * variance.max() < 1:
        raise UsageError(
            f"step size {step_size:.4g} gives {step_size * variance.max():.4g} times the largest "
            f"eigenvalue, expected between 0 and 1; use less than {1 / variance.max():.4g}"
        )
    t = array_of(steps)
    if not np.all(t >= 0):
        raise UsageError("steps hold a negative number or NaN, expected numbers >= 0")
    x = step_size * variance
    learned = -np.expm1(t[..., None] * np.log1p(-x))  # 1 - (1 - x)^t without cancellation
    slope = np.divide(learned, x, out=np.repeat(t[..., None], len(x), axis=-1), where=x > 0)
    curve: NDArray[np.float64] = slope * np.sqrt(variance)
    return curve


@own_settings()
def whitening_filters(basis: PatchBasis) -> Tensor:
    r"""Return the filters that whiten patches.

    .. math:: w_i = u_i / \lambda_i

    Their responses to a patch are uncorrelated and have variance 1. The energy profile of a linear
    CNN converges to theirs.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.3; arXiv:2206.02454.

    Parameters
    ----------
    basis : principal components of the patches

    Returns
    -------
    (d, c, kh, kw) float64

    Raises
    ------
    DataError
        Where a component has no variance.

    Examples
    --------
    >>> import torch
    >>> from repsim_energy import energy_profile, patch_moments
    >>> images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> basis = patch_moments(images, (2, 2)).basis()
    >>> profile = energy_profile(whitening_filters(basis), basis)
    >>> (profile * basis.eigenvalues.sqrt().numpy()).round(6)
    array([0.5, 0.5, 0.5, 0.5])
    """
    variance = basis.eigenvalues
    if basis.without_variance or not variance.min() > SMALLEST_EIGENVALUE * variance.max():
        raise DataError(
            "a component of the patches has no variance and cannot be whitened; use more images, "
            "or images of independent channels"
        )
    return (basis.components / variance.sqrt()[:, None]).view(-1, *basis.patch)


def check_eigenvalues(eigenvalues: ArrayLike) -> NDArray[np.float64]:
    """Return eigenvalues as (d,) float64, and refuse those that no patch basis has."""
    variance = array_of(eigenvalues)
    if variance.ndim != 1 or len(variance) == 0:
        raise ShapeError(f"eigenvalues have shape {variance.shape}, expected (d,)")
    if not (np.isfinite(variance).all() and variance.min() >= 0 and variance.max() > 0):
        raise DataError(
            "eigenvalues hold NaN, infinite or negative values or are all zero, expected the "
            "variances of a patch basis"
        )
    return variance
