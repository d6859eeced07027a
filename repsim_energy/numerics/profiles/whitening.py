"""Distance of an energy profile to that of whitening filters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import ShapeError, UndefinedSimilarityWarning
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.profiles.beyond_theory import MIN_COMPONENTS, ZERO_ENERGY
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["whitening_distance"]

EQUAL_EIGENVALUES = 1e-9
"""Standard deviation of the log eigenvalues below which they are equal but for rounding."""


@own_settings()
def whitening_distance(profile: ArrayLike, eigenvalues: ArrayLike) -> float:
    r"""Return the distance of an energy profile to that of whitening filters.

    .. math:: \frac{\operatorname{sd}_i\,(\log e_i + \log\lambda_i)}
        {\operatorname{sd}_i\,(\log\lambda_i)}

    Whitening filters have :math:`e_i \propto 1 / \lambda_i`: all :math:`e_i \lambda_i`, the
    standard deviations of their responses along the components, are equal, and the distance is 0.
    Filters with equal energy along all components, such as white random ones, have the distance 1.
    Filters that respond in proportion to the variance, :math:`e_i \propto \lambda_i`, which is the
    theory after one gradient step, have the distance 2. The scales of profile and eigenvalues do
    not matter.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.3; arXiv:2206.02454, for whitening as the end of training. The
    distance is defined here.

    Parameters
    ----------
    profile : (d,) an energy profile. Components without energy (zero, or less than 1e-6 of the
        largest) and those that are NaN are left out
    eigenvalues : (d,) :math:`\lambda_i^2`, the patch variance along each component

    Returns
    -------
    float
        At least 0. NaN, with an :class:`UndefinedSimilarityWarning`, for fewer than three
        components with energy, or with equal eigenvalues.

    Raises
    ------
    ShapeError
        For a profile that has not one number for each eigenvalue.

    Warns
    -----
    UndefinedSimilarityWarning
        If the distance is undefined.

    Examples
    --------
    >>> eigenvalues = np.geomspace(1.0, 1e-4, 27)
    >>> [round(whitening_distance(eigenvalues**p, eigenvalues), 6) for p in (-0.5, 0, 0.5)]
    [0.0, 1.0, 2.0]
    """
    energy, variance = array_of(profile), array_of(eigenvalues)
    if energy.ndim != 1 or energy.shape != variance.shape:
        raise ShapeError(
            f"profile has shape {energy.shape} but there are {variance.size} eigenvalues; give "
            "those of the basis that the profile was measured on"
        )
    with np.errstate(invalid="ignore"):
        largest = np.fmax.reduce(energy, initial=0)
        known = (energy > ZERO_ENERGY * largest) & (variance > 0) & np.isfinite(energy * variance)
    log_scale = np.log(variance[known]) / 2
    spread = float(log_scale.std()) if known.sum() >= MIN_COMPONENTS else 0.0
    if spread < EQUAL_EIGENVALUES:
        warnings.warn(
            f"the distance to whitening is undefined: {int(known.sum())} components have energy, "
            "expected three or more with different eigenvalues",
            UndefinedSimilarityWarning,
            stacklevel=3,  # above own_settings
        )
        return np.nan
    return float((np.log(energy[known]) + log_scale).std()) / spread
