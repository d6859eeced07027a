"""How CKA is distributed when the examples of one network are shuffled."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaincinv
from torch import Tensor

from repsim_energy.numerics.settings import own_settings

__all__ = ["FEWEST", "INVARIANTS", "permutation_band", "permutation_invariants", "shuffled_band"]

INVARIANTS = 4
"""How many numbers of a matrix the first three moments depend on."""

FEWEST = 6
"""Examples below which the third moment has no such form."""

Array = NDArray[np.float64]


@own_settings()
def permutation_invariants(matrix: Tensor) -> Tensor:
    r"""Return what shuffling leaves of a matrix: (n, n) -> (4,) float64.

    :math:`n, \sum A_{ij}^2, \sum A_{ij}^3, \operatorname{tr} A^3` of a symmetric matrix A, such as
    :func:`~repsim_energy.numerics.cka.hsic.hsic_matrix` gives.
    """
    size = matrix.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
    small = (matrix / size).float()  # entries up to 1: their cubes neither overflow nor vanish
    squares = matrix.square()
    triangles = ((small @ small) * small).sum(dtype=torch.float64) * size**3
    cubes = torch.dot(squares.flatten(), matrix.flatten())
    return torch.stack((squares.new_tensor(len(matrix)), squares.sum(), cubes, triangles))


@own_settings()
def permutation_band(a: Array, b: Array) -> tuple[float, float]:
    r"""Return the central 95% of debiased CKA when the examples of one network are shuffled.

    Shuffling keeps every property of either set of features and breaks what ties them together.
    Over all n! orders CKA has mean 0, variance 2 / (n (n - 3)) whatever the features, and a third
    moment that depends on a few sums over each matrix. A gamma distribution (Pearson's type III)
    with these moments gives the band. Where HSIC is summed over batches, examples are shuffled
    within each.

    Source: Josse, Pagès and Husson (2008) for the approximation. The moments are sums over all ways
    in which indices coincide; a test compares them with all 720 orders of six examples.

    Parameters
    ----------
    a, b : (m, 4), :func:`permutation_invariants` of the unbiased matrices of each of m batches

    Returns
    -------
    (low, high). NaN where features have no variance, and for fewer than six examples in a batch.
    """
    variance, third = (float(moment.sum()) for moment in permutation_moments(a, b))
    norm = math.sqrt(a[:, 1].sum() * b[:, 1].sum())
    if a[:, 0].min() < FEWEST or not (norm > 0 and variance > 0):
        return (math.nan, math.nan)
    low, high = _gamma_band(third / variance**1.5)
    scale = math.sqrt(variance) / norm
    return (low * scale, high * scale)


def permutation_moments(a: Array, b: Array) -> tuple[Array, Array]:
    r"""Return variance and third moment of :math:`\sum A_{ij} B_{ij}` over all orders of B.

    Parameters
    ----------
    a, b : (m, 4) of matrices with rows that sum to zero and nothing on the diagonal

    Returns
    -------
    (m,) and (m,); the mean is zero.
    """
    n, squares, cubes, triangles = a.T
    _, squares_b, cubes_b, triangles_b = b.T
    third = (
        4 * (n**4 - 8 * n**3 + 19 * n**2 - 4 * n - 16) * cubes * cubes_b
        - 8 * (3 * n**2 - 15 * n + 16) * (cubes * triangles_b + triangles * cubes_b)
        + 8 * (n**3 - 9 * n**2 + 26 * n - 22) * triangles * triangles_b
    )
    orders = n * (n - 1) * (n - 2) * (n - 3) * (n - 4) * (n - 5)
    with np.errstate(divide="ignore", invalid="ignore"):  # fewer than FEWEST have no third moment
        return 2 * squares * squares_b / (n * (n - 3)), third / orders


@own_settings()
def shuffled_band(
    a: Tensor, b: Tensor, *, shuffles: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Return the central 95% of CKA over some random orders of the examples.

    For biased CKA, whose distribution no three moments describe where a few examples are far out.

    Parameters
    ----------
    a, b : (n, n) centered Gram matrices
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


def _gamma_band(skewness: float) -> tuple[float, float]:
    """Return the central 95% of the standardized gamma distribution of this skewness."""
    shape = 4 / max(skewness * skewness, 1e-8)
    low, high = ((gammaincinv(shape, p) - shape) / math.sqrt(shape) for p in (0.025, 0.975))
    return (float(low), float(high)) if skewness >= 0 else (-float(high), -float(low))
