"""Centered Gram matrices, estimates of HSIC, and linear CKA from them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UndefinedSimilarityWarning, UsageError, warn
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.cka.mixed_precision import RowProducts, as_floating, typical_row
from repsim_energy.numerics.features import check_finite
from repsim_energy.numerics.settings import own_settings

__all__ = [
    "FLOAT64_ROUNDING",
    "Estimator",
    "centered_gram",
    "check_estimator",
    "check_rows",
    "cka_from_grams",
    "debiased_hsic",
    "hsic_matrix",
    "cka_from_hsic",
    "relative_rounding",
    "unbiased_gram",
]

Estimator = Literal["debiased", "biased"]

FLOAT64_ROUNDING = 64 * torch.finfo(torch.float64).eps
"""Deviations from the mean below this fraction of the mean are rounding, not variance."""

MIN_UNBIASED = 1e-9
"""Entries of an unbiased matrix below this fraction of the largest squared length of a row are
rounding (measured: 2e-11 with products of float32). Those of d independent features are about
1 / sqrt(d).
"""

MAX_ASYMMETRY = 1e-5
"""Largest difference of a kernel from its transpose, relative to its largest entry."""

BLOCK_COLUMNS = 4096
"""Features that are multiplied at once, so that a wide layer is never copied as a whole."""

FEW_ROWS = 32
"""Rows in which nearly every feature varies. Only the others are searched whole."""

MIN_SAMPLES = {"debiased": 4, "biased": 2}
"""Examples that each estimator needs."""


@takes_arrays
@own_settings()
def centered_gram(features: Tensor) -> Tensor:
    r"""Return the Gram matrix of features whose mean over the samples is subtracted.

    .. math:: K = \tilde X \tilde X^\top,\qquad \tilde X = X - \tfrac1n 1 1^\top X

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Equation 4; arXiv:1905.00414.

    Parameters
    ----------
    features : (n, d) of any real number type; :func:`~repsim_energy.flatten_activations` gives
        them of any activations. float32 features are multiplied in float32 and summed in float64
        where they are many

    Returns
    -------
    (n, n) float64, symmetric, with rows that sum to zero

    Raises
    ------
    ShapeError
        For features that are not (n, d).
    DataError
        For complex, NaN or infinite features.

    Examples
    --------
    >>> centered_gram(torch.tensor([[1.0], [3.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]], dtype=torch.float64)
    """
    if features.ndim != 2 or len(features) == 0:
        raise ShapeError(
            f"features have shape {tuple(features.shape)}, expected (n, d) with a row per sample; "
            "flatten them"
        )
    rounding = relative_rounding(features)
    features = as_floating(features)
    gram = _centered_gram(features, features.dtype, rounding)
    if not 1e-20 < float(gram.diagonal().max()) < 1e20:  # too small or large for float32, or NaN
        check_finite(features)
        gram = _centered_gram(features, torch.float64, rounding)
        if not gram.isfinite().all():
            raise DataError("features are so large that their products are infinite; scale them")
    return gram


def relative_rounding(features: Tensor) -> float:
    """Return the largest deviation from the mean that counts as rounding, relative to the mean.

    For float32 it is four times the distance of neighboring numbers, which sums in another order
    differ by.
    """
    if features.dtype == torch.float32:
        return 4 * torch.finfo(torch.float32).eps
    return FLOAT64_ROUNDING


def _centered_gram(features: Tensor, dtype: torch.dtype, rounding: float) -> Tensor:
    products = RowProducts(symmetric=True)
    space = torch.empty(
        len(features) * min(BLOCK_COLUMNS, features.shape[1]), dtype=dtype, device=features.device
    )
    for columns in features.split(BLOCK_COLUMNS, dim=1):
        x = space[: columns.numel()].view(columns.shape)  # new memory for each would be slow
        _write_deviations(columns.to(dtype), rounding, x)
        products.add(x.T, x.T)
    gram = products.whole()
    means = gram.mean(0)  # not zero, because the subtracted means were rounded
    return gram.sub_(means).sub_((means - means.mean())[:, None])


def _write_deviations(features: Tensor, rounding: float, x: Tensor) -> None:
    """Write the deviations from the mean into x, zero where they are rounding."""
    mean = typical_row(features)
    torch.sub(features, mean, out=x)
    if features.dtype == torch.float64 and rounding == FLOAT64_ROUNDING:
        x *= x.abs() > FLOAT64_ROUNDING * mean.abs()
        return
    bound = rounding * mean.abs()
    still = (x[:FEW_ROWS].abs().amax(0) <= bound).nonzero().flatten()  # in these rows
    if len(still):
        lowest, highest = torch.aminmax(x[:, still], dim=0)
        constant = still[~(torch.maximum(-lowest, highest) > bound[still])]
        x[:, constant] *= 0  # which leaves NaN, to be refused


@takes_arrays
@own_settings()
def unbiased_gram(gram: Tensor) -> Tensor:
    r"""Return the unbiased form of a Gram or kernel matrix, whose products estimate HSIC.

    .. math:: A_{ij} = K_{ij} - \frac{r_i + r_j}{n - 2} + \frac{s}{(n - 1)(n - 2)}\ (i \ne j),
        \qquad A_{ii} = 0

    :math:`r_i` is the sum of row i without its diagonal entry and s the sum of all :math:`r_i`. The
    rows of A sum to zero, and :math:`\sum_{ij} A_{ij} B_{ij} = n (n - 3)\,\mathrm{HSIC}_1`.
    Centering K does not change A.

    Source: Székely and Rizzo (2014), "Partial distance correlation with methods for
    dissimilarities", Definition 2; doi:10.1214/14-AOS1255.

    Parameters
    ----------
    gram : (n, n) symmetric, n >= 4, a tensor or an array

    Returns
    -------
    (n, n) float64 tensor, symmetric, zero on the diagonal

    Raises
    ------
    ShapeError
        For a matrix that is not square.
    DataError
        For fewer than four samples, a matrix that is not symmetric, NaN or infinite values.

    Examples
    --------
    >>> features = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    >>> unbiased_gram(features @ features.T)[0].round(decimals=3).tolist()
    [0.0, -0.667, 1.333, -0.667]
    """
    if gram.is_complex():
        raise DataError("a Gram matrix is complex, expected real numbers")
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise ShapeError(f"a Gram matrix has shape {tuple(gram.shape)}, expected (n, n)")
    check_count("debiased", len(gram))
    check_finite(gram)
    gram = gram.double()
    if (gram - gram.T).abs().max() > MAX_ASYMMETRY * gram.abs().max():
        raise DataError("a Gram matrix is not symmetric, expected the same kernel for both orders")
    row_sums = gram.clone().fill_diagonal_(0).sum(1)
    return _unbiased(gram, row_sums, row_sums.sum())


def _unbiased(gram: Tensor, row_sums: Tensor, total: Tensor) -> Tensor:
    """Return the unbiased form, from the row sums without the diagonal and the sum of these."""
    n = len(gram)
    shares = total / (2 * (n - 1) * (n - 2)) - row_sums / (n - 2)
    return (gram + shares).add_(shares[:, None]).fill_diagonal_(0)


@own_settings()
def hsic_matrix(gram: Tensor, estimator: Estimator = "debiased") -> Tensor:
    """Return the matrix whose entrywise product with another's sums to the estimate of HSIC.

    It is zero where the features do not say which samples are alike: where they are constant or,
    for the debiased estimate, differ for one sample alone.

    Parameters
    ----------
    gram : (n, n) centered
    estimator : ``debiased`` for HSIC_1, ``biased`` for the sum of all K_ij L_ij

    Returns
    -------
    (n, n) float64
    """
    check_estimator(estimator, len(gram))
    if estimator == "biased":
        return gram
    diagonal = gram.diagonal()  # minus the row sums without it, as rows of gram sum to zero
    matrix = _unbiased(gram, -diagonal, -diagonal.sum())
    if matrix.abs().max() <= MIN_UNBIASED * gram.diagonal().max():
        return matrix.zero_()
    return matrix.div_(math.sqrt(len(gram) * (len(gram) - 3)))


@takes_arrays
@own_settings()
def cka_from_grams(gram_x: Tensor, gram_y: Tensor, estimator: Estimator = "debiased") -> float:
    """Return the linear CKA of two centered Gram matrices (n, n) of the same n samples.

    It is the same number as :func:`~repsim_energy.cka`, and cheaper where there are more features
    than samples.
    """
    if gram_x.ndim != 2 or gram_x.shape != gram_y.shape or gram_x.shape[0] != gram_x.shape[1]:
        raise ShapeError(
            f"Gram matrices have shapes {tuple(gram_x.shape)} and {tuple(gram_y.shape)}, "
            "expected (n, n) twice; show both networks the same images"
        )
    a, b = (hsic_matrix(gram, estimator).flatten() for gram in (gram_x, gram_y))
    return cka_from_hsic(*(float(torch.dot(*pair)) for pair in ((a, b), (a, a), (b, b))))


def debiased_hsic(cross: float, both: float, sum_a: float, sum_b: float, n: int) -> float:
    r"""Return :math:`n (n - 3)\,\mathrm{HSIC}_1` of two centered linear kernels.

    Centering does not change HSIC_1. It makes the row sums without the diagonal equal to minus the
    diagonal, so that only these sums remain.

    Source: Song, Smola, Gretton, Bedo and Borgwardt (2012), "Feature Selection via Dependence
    Maximization", Equation 5; https://jmlr.org/papers/v13/song12a.html.

    Parameters
    ----------
    cross : sum of the products of all entries of both kernels
    both : sum of the products of their diagonals
    sum_a, sum_b : sum of each diagonal
    n : the number of samples
    """
    return cross - n / (n - 2) * both + sum_a * sum_b / ((n - 1) * (n - 2))


def cka_from_hsic(xy: float, xx: float, yy: float) -> float:
    """Return CKA from estimates of HSIC.

    It is NaN, with a warning, where a self-similarity is not positive.

    Parameters
    ----------
    xy, xx, yy : of x with y, of x with itself, and of y with itself
    """
    if not (xx > 0 and yy > 0):
        warn(
            "a network's features are constant, differ for one sample alone, or come from too "
            "few samples; their CKA is undefined and reported as NaN",
            UndefinedSimilarityWarning,
        )
        return math.nan
    return xy / math.sqrt(xx * yy)


def check_rows(x: Tensor, y: Tensor) -> None:
    """Refuse features that are not (n, d1) and (n, d2)."""
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ShapeError(
            f"features have shapes {tuple(x.shape)} and {tuple(y.shape)}, expected (n, d1) and "
            "(n, d2) with one row per sample; flatten them, and take both of the same samples"
        )


def check_estimator(estimator: str, n: int) -> None:
    """Refuse unknown estimators, and fewer samples than they need."""
    if estimator not in MIN_SAMPLES:
        raise UsageError(f"unknown estimator '{estimator}'; known: biased, debiased")
    check_count(estimator, n)


def check_count(estimator: str, n: int) -> None:
    """Refuse fewer samples than an estimator needs."""
    if n < MIN_SAMPLES[estimator]:
        raise DataError(
            f"got {n} samples, expected at least {MIN_SAMPLES[estimator]} for the {estimator} "
            "estimator; use more"
        )
