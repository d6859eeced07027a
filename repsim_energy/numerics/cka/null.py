"""Distribution of CKA when the samples of one network are shuffled."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaincinv
from torch import Tensor

from repsim_energy.numerics.settings import own_settings

__all__ = [
    "MIN_SAMPLES",
    "INVARIANTS",
    "permutation_interval",
    "permutation_invariants",
    "permutation_law",
    "shuffled_interval",
]

INVARIANTS = 4
"""Numbers of a matrix that the first three moments depend on."""

MIN_SAMPLES = 6
"""Examples that the formula of the third moment needs."""

Array = NDArray[np.float64]


@own_settings()
def permutation_invariants(matrix: Tensor) -> Tensor:
    r"""Return the permutation invariants of a symmetric matrix that the moments depend on.

    .. math:: n,\quad \sum A_{ij}^2,\quad \sum A_{ij}^3,\quad \operatorname{tr} A^3

    Parameters
    ----------
    matrix : (n, n), of :func:`~repsim_energy.numerics.cka.hsic.hsic_matrix`

    Returns
    -------
    (4,) float64
    """
    size = matrix.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    small = (matrix / size).float()  # entries up to 1: their cubes neither overflow nor vanish
    squares = matrix.square()
    triangles = ((small @ small) * small).sum(dtype=torch.float64) * size**3
    cubes = torch.dot(squares.flatten(), matrix.flatten())
    return torch.stack((squares.new_tensor(len(matrix)), squares.sum(), cubes, triangles))


@own_settings()
def permutation_interval(a: Array, b: Array) -> tuple[float, float]:
    r"""Return the central 95% of debiased CKA when the samples of one network are shuffled.

    Shuffling changes nothing within either set of features, but removes the relation between them.
    Over all n! orders CKA has mean 0, variance 2 / (n (n - 3)) for any features, and a third moment
    that depends on a few sums over each matrix. The interval is that of a gamma distribution
    (Pearson's type III) with these moments. Where HSIC is summed over batches, samples are
    shuffled within each batch.

    Source: Josse, Pagès and Husson (2008), "Testing the significance of the RV coefficient";
    doi:10.1016/j.csda.2008.06.012.

    Parameters
    ----------
    a, b : (m, 4) :func:`permutation_invariants` of the unbiased matrices of m batches

    Returns
    -------
    (low, high). NaN for features without variance, and for fewer than six samples in a batch.
    """
    scale, skewness = permutation_law(a, b)
    if math.isnan(scale):
        return (math.nan, math.nan)
    low, high = _gamma_interval(skewness)
    return (low * scale, high * scale)


def permutation_law(a: Array, b: Array) -> tuple[float, float]:
    """Return the standard deviation and the skewness of debiased CKA over all orders.

    Parameters
    ----------
    a, b : (m, 4) of :func:`permutation_invariants`, as of :func:`permutation_interval`

    Returns
    -------
    NaN twice where :func:`permutation_interval` is NaN
    """
    variance, third = (float(moment.sum()) for moment in permutation_moments(a, b))
    norm = math.sqrt(a[:, 1].sum() * b[:, 1].sum())
    if a[:, 0].min() < MIN_SAMPLES or not (norm > 0 and variance > 0):
        return (math.nan, math.nan)
    return (math.sqrt(variance) / norm, third / variance**1.5)


def permutation_moments(a: Array, b: Array) -> tuple[Array, Array]:
    r"""Return variance and third moment of :math:`\sum A_{ij} B_{ij}` over all orders of B.

    They are sums over all ways in which indices coincide. The mean is zero.

    Parameters
    ----------
    a, b : (m, 4) :func:`permutation_invariants` of matrices whose rows sum to zero and whose
        diagonal is zero

    Returns
    -------
    (m,) and (m,)
    """
    n, squares, cubes, triangles = a.T
    _, squares_b, cubes_b, triangles_b = b.T
    third = (
        4 * (n**4 - 8 * n**3 + 19 * n**2 - 4 * n - 16) * cubes * cubes_b
        - 8 * (3 * n**2 - 15 * n + 16) * (cubes * triangles_b + triangles * cubes_b)
        + 8 * (n**3 - 9 * n**2 + 26 * n - 22) * triangles * triangles_b
    )
    orders = n * (n - 1) * (n - 2) * (n - 3) * (n - 4) * (n - 5)
    with np.errstate(divide="ignore", invalid="ignore"):  # for fewer than MIN_SAMPLES
        return 2 * squares * squares_b / (n * (n - 3)), third / orders


@own_settings()
def shuffled_interval(
    a: Tensor, b: Tensor, *, shuffles: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Return the central 95% of CKA over random orders of the samples.

    It is used for biased CKA, whose distribution three moments do not describe where a few samples
    are far from the others.

    Parameters
    ----------
    a, b : (n, n) centered Gram matrices
    shuffles : the number of random orders
    seed : of the orders

    Returns
    -------
    (low, high). NaN for features without variance.
    """
    norm = float(a.norm() * b.norm())
    if norm == 0:
        return (math.nan, math.nan)
    generator = torch.Generator().manual_seed(seed)
    a, b = (a / a.norm()).float(), (b / b.norm()).float()
    values = []
    for _ in range(shuffles):
        order = torch.randperm(len(b), generator=generator)
        products = a * b.index_select(0, order).index_select(1, order)
        values.append(products.sum(dtype=torch.float64))
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.stack(values).quantile(levels).tolist()
    return (low, high)


def _gamma_interval(skewness: float) -> tuple[float, float]:
    """Return the central 95% of the standardized gamma distribution with this skewness."""
    shape = 4 / max(skewness * skewness, 1e-8)
    low, high = ((gammaincinv(shape, p) - shape) / math.sqrt(shape) for p in (0.025, 0.975))
    return (float(low), float(high)) if skewness >= 0 else (-float(high), -float(low))
