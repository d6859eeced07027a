"""Covariance of the filters of a bank on a patch basis, and its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, SingularCovarianceWarning, warn
from repsim_energy.numerics.arrays import array_of, finite_or_nan, takes_arrays
from repsim_energy.numerics.profiles.energy import check_filters
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "diagonality",
    "effective_rank",
    "filter_covariance",
    "independent_diagonality",
    "misalignment",
    "misalignment_or_nan",
    "square_matrix",
]

SINGULAR = 1e-12
"""Smallest eigenvalue, relative to the largest, below which a covariance has no inverse. Filters in
float32 whose number is too small for an inverse stay below it."""


SYMMETRIC = 1e-4
"""Largest difference of two entries, relative to the largest, that counts as rounding (of half
precision at most)."""


@takes_arrays
@own_settings()
def filter_covariance(filters: Tensor, basis: PatchBasis) -> NDArray[np.float64]:
    r"""Return the covariance of the filters of a bank, on the principal components of patches.

    .. math:: C_{ij} = \tfrac1K \sum_{k=1}^K (w_k^\top u_i)(w_k^\top u_j)

    The mean filter is not subtracted. The square roots of the diagonal are the energy profile. Two
    banks with one profile can differ in all other entries.

    Source: Guth, Ménard, Rochette and Mallat (2024), "A Rainbow in Deep Network Black Boxes",
    arXiv:2305.18512, for covariances of weights.

    Parameters
    ----------
    filters : (k, c, kh, kw), or (k, d) flattened channel-first
    basis : r principal components of patches of the same shape

    Returns
    -------
    (r, r) float64, symmetric, without negative eigenvalues, in units of the weights squared. It
    does not depend on the order and the signs of the filters, or on an orthogonal mixing of them.
    NaN, with an :class:`UndefinedSimilarityWarning`, for filters that are not finite, or whose
    squares are not.

    Raises
    ------
    ShapeError
        For filters of another shape than the patches of the basis.

    Warns
    -----
    UndefinedSimilarityWarning
        If an entry is NaN.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> basis = rs.patch_moments(images, (2, 2)).basis()
    >>> bank = torch.rand(16, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    >>> covariance = rs.filter_covariance(bank, basis)
    >>> bool(np.allclose(np.diag(covariance) ** 0.5, rs.energy_profile(bank, basis)))
    True
    """
    check_filters(filters, basis)
    flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
    responses = flat @ basis.components.T
    covariance: NDArray[np.float64] = (responses.T @ responses / len(responses)).numpy()
    return finite_or_nan((covariance + covariance.T) / 2, "covariance of filters")


def diagonality(covariance: NDArray[np.float64]) -> float:
    r"""Return the share of the squared entries that is on the diagonal, in [0, 1].

    .. math:: \delta = \frac{\sum_i C_{ii}^2}{\|C\|_F^2}
    """
    with np.errstate(invalid="ignore"):
        scaled = covariance / np.abs(covariance).max()
        return float(np.square(np.diag(scaled)).sum() / np.square(scaled).sum())


def independent_diagonality(covariance: NDArray[np.float64], filters: int) -> float:
    r"""Return the diagonality of random filters with independent responses to the components.

    .. math:: \frac{K + 2}{K + 1 + R}, \qquad
        R = \frac{(\sum_i C_{ii})^2}{\sum_i C_{ii}^2}

    This is the ratio of the means of numerator and denominator, for K normal filters with the
    energy profile of C.
    """
    variances = np.diag(covariance)
    with np.errstate(invalid="ignore"):
        scaled = variances / variances.max()
        components = scaled.sum() ** 2 / np.square(scaled).sum()
    return float((filters + 2) / (filters + 1 + components))


def effective_rank(covariance: NDArray[np.float64]) -> float:
    r"""Return the effective number of directions of the filters, in [1, r].

    .. math:: \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2}
    """
    with np.errstate(invalid="ignore"):
        scaled = covariance / np.abs(covariance).max()
        return float(np.trace(scaled) ** 2 / np.square(scaled).sum())


@own_settings()
def misalignment(covariance: ArrayLike) -> float:
    r"""Return the misalignment of a bank with the principal components of patches.

    .. math:: M = \sqrt{\sum_i \Bigl(\sqrt{C_{ii}\,(C^{-1})_{ii}} - 1\Bigr)}

    It is zero if and only if C is diagonal, that is, if its eigenvectors are the components. It
    depends neither on the scale of the filters nor on that of each component. It does depend on the
    number of filters: white random filters have about 6.6, 2.9, 1.8 and 0.6 for 32, 64, 128 and
    1000 filters of 27 weights. Compare it with the null interval that the metric ``covariance``
    adds to a result.

    Source: Maennel, Alabdulmohsin, Tolstikhin, Baldock, Bousquet, Gelly and Keysers (2020), "What
    Do Neural Networks Learn When Trained With Random Labels?", arXiv:2006.10455, for misalignment
    of filters with patches.

    Parameters
    ----------
    covariance : (r, r), of :func:`filter_covariance`

    Returns
    -------
    float
        At least 0. NaN, with a :class:`SingularCovarianceWarning`, for a covariance without an
        inverse: of fewer filters than components, of filters that do not differ enough, or with
        values that are not finite.

    Raises
    ------
    ShapeError
        For an array that is not square.
    DataError
        For complex numbers, and what is no array of numbers.

    Warns
    -----
    SingularCovarianceWarning
        If the covariance has no inverse.

    Examples
    --------
    >>> misalignment([[1.0, 0.0], [0.0, 3.0]])
    0.0
    >>> round(misalignment([[1.0, 0.6], [0.6, 1.0]]), 4)  # (2 (1 / 0.8 - 1)) ** 0.5
    0.7071
    """
    matrix = square_matrix(covariance)
    value = misalignment_or_nan(matrix)
    if np.isnan(value):
        warn(
            f"the covariance of filters in {len(matrix)} components has no inverse (fewer filters "
            "than components, or equal ones), its misalignment is undefined and reported as NaN",
            SingularCovarianceWarning,
        )
    return value


def misalignment_or_nan(covariance: NDArray[np.float64]) -> float:
    """Return the misalignment as :func:`misalignment` does, without a warning."""
    if not np.isfinite(covariance).all():
        return float("nan")
    try:
        values, vectors = np.linalg.eigh(covariance)
    except np.linalg.LinAlgError:  # of numbers whose squares are infinite
        return float("nan")
    if values[-1] < np.finfo(np.float64).tiny or values[0] <= SINGULAR * values[-1]:
        return float("nan")
    squares = np.square(vectors)
    products = (squares @ values) * (squares @ (1 / values))
    return float(np.sqrt(np.maximum(np.sqrt(products) - 1, 0.0).sum()))


def square_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return a covariance as float64, without components that are NaN.

    Raises
    ------
    ShapeError
        For an array that is not square.
    DataError
        For one that is not symmetric, or has negative variances.
    """
    values = array_of(matrix)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not len(values):
        raise ShapeError(
            f"covariance has shape {values.shape}, expected (r, r); use rs.filter_covariance"
        )
    if np.isfinite(values).all():
        difference = np.abs(values / 2 - values.T / 2).max()
        rounding = SYMMETRIC * np.abs(values).max()
        if difference > rounding or np.diag(values).min() < -rounding:
            raise DataError(
                "the covariance is not symmetric, or has negative variances, expected one of "
                "filters; use rs.filter_covariance"
            )
    missing = np.isnan(values).all(0)
    return values if missing.all() else values[np.ix_(~missing, ~missing)]
