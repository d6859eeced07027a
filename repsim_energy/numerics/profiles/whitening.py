"""How far an energy profile is on the way to whitening, and how far it is from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import ShapeError, UndefinedSimilarityWarning, UsageError, warn
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.profiles.beyond_theory import MIN_COMPONENTS, ZERO_ENERGY
from repsim_energy.numerics.profiles.theory import check_eigenvalues
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["whitening_distance", "whitening_exponent"]

EQUAL_EIGENVALUES = 1e-9
"""Standard deviation of the log eigenvalues below which they are equal but for rounding."""


@own_settings()
def whitening_exponent(
    profile: ArrayLike, eigenvalues: ArrayLike, *, variance_share: float = 1.0
) -> float:
    r"""Return the exponent w of the power law that fits an energy profile best.

    .. math:: e_i \propto \lambda_i^{-w}

    by least squares of :math:`\log e_i` over :math:`\log\lambda_i`, all components weighted
    equally, or the leading ones alone. The theoretical profile goes from -1, the first step of
    gradient descent, which amplifies the components that vary most, to 1, which is whitening, and
    the leading components go first. It is 0 for white filters, such as random ones.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorems 4.2 and 4.3; arXiv:2206.02454, for the limits -1 and 1.

    Parameters
    ----------
    profile : (d,) a measured energy profile
    eigenvalues : (d,) :math:`\lambda_i^2` of the basis it was measured on. Components where either
        is NaN, and those without energy (less than 1e-6 of the largest) or without variance, are
        left out
    variance_share : the leading components that make up this share of the variance are used, such
        as 0.99. Where patches have hundreds of components, most have hardly any variance

    Returns
    -------
    float
        w, NaN with an :class:`UndefinedSimilarityWarning` for fewer than three components or equal
        eigenvalues.

    Raises
    ------
    ShapeError
        For a profile that has not one number for each eigenvalue.
    DataError
        For eigenvalues that are negative, infinite or all zero.
    UsageError
        For a share outside of 0 to 1.

    Warns
    -----
    UndefinedSimilarityWarning
        If the exponent is undefined.

    Examples
    --------
    >>> eigenvalues = np.array([9.0, 4.0, 1.0])
    >>> [round(whitening_exponent(eigenvalues**power, eigenvalues), 6) for power in (-0.5, 0.25)]
    [1.0, -0.5]
    """
    if not 0 < variance_share <= 1:
        raise UsageError(f"got variance_share={variance_share!r}, expected more than 0, at most 1")
    scales, energies = _logarithms(profile, eigenvalues, variance_share)
    if _undefined(scales, "exponent"):
        return np.nan
    return float(-(scales @ energies) / (scales @ scales))


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
    not matter. For a power law it is :math:`|1 - w|` with the exponent of
    :func:`whitening_exponent`; deviations from a power law make it larger.

    The definition is of this package.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.3; arXiv:2206.02454, for whitening as the end of training.

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
    DataError
        For eigenvalues that are negative, infinite or all zero.

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
    scales, energies = _logarithms(profile, eigenvalues)
    if _undefined(scales, "distance"):
        return np.nan
    return float((energies + scales).std() / scales.std())


def _logarithms(
    profile: ArrayLike, eigenvalues: ArrayLike, variance_share: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centered log λ_i and log e_i of components with energy and variance."""
    energy, variance = array_of(profile), array_of(eigenvalues)
    if energy.ndim != 1 or energy.shape != variance.shape:
        raise ShapeError(
            f"profile has shape {energy.shape} but eigenvalues have {variance.shape}, expected one "
            "number for each; give those of the basis that the profile was measured on"
        )
    check_eigenvalues(variance[~np.isnan(variance)])
    largest = np.fmax.reduce(energy, initial=0.0)
    with np.errstate(invalid="ignore"):
        known = (energy > ZERO_ENERGY * largest) & np.isfinite(energy) & (variance > 0)
    if variance_share < 1:
        known &= _leading(variance, variance_share)
    scales, energies = np.log(variance[known]) / 2, np.log(energy[known])
    if not len(scales):
        return scales, energies
    return scales - scales.mean(), energies - energies.mean()


def _leading(variance: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Return a mask of the fewest components that make up a share of the variance."""
    order = np.argsort(-np.nan_to_num(variance), kind="stable")
    total = np.cumsum(np.nan_to_num(variance)[order])
    mask = np.zeros(len(variance), dtype=bool)
    mask[order[: 1 + int((total < share * total[-1]).sum())]] = True
    return mask


def _undefined(scales: NDArray[np.float64], quantity: str) -> bool:
    """Return whether no power law can be fitted, after a warning that says why."""
    if len(scales) >= MIN_COMPONENTS and scales.std() > EQUAL_EIGENVALUES:
        return False
    warn(
        f"the whitening {quantity} is undefined for {len(scales)} components with energy, expected "
        f"at least {MIN_COMPONENTS} of different eigenvalues; it is NaN",
        UndefinedSimilarityWarning,
    )
    return True
