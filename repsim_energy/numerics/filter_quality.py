"""Quality of a bank of filters: dead and duplicate filters, rank, sparsity, entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln, xlogy

from repsim_energy.errors import DataError, ShapeError, warn
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

__all__ = ["QUALITY", "filter_quality"]

DEAD_SHARE = 0.01
"""Norm of a filter, relative to the largest, below which it counts as dead; and the largest weight
of a slice relative to that of the layer, below which the slice counts as sparse."""

DUPLICATE_COSINE = 0.99
"""Absolute cosine above which two filters count as duplicates."""

KERNEL_OF_ENTROPY = (3, 3)
"""Size of the slices whose variance entropy is published."""

QUALITY = {
    "filters": "number of filters",
    "dead": "filters whose norm is below 1% of the largest",
    "duplicates": "filters beyond the first of each group of duplicates, |cosine| above 0.99",
    "duplicate_groups": "groups of duplicates",
    "effective_rank": "effective rank of the covariance of the filters, (tr C)^2 / tr C^2",
    "effective_rank_random": "effective rank of white random filters, (k d + 2) / (k + d + 1)",
    "orthogonality": "1 minus the mean |cosine| of two filters",
    "orthogonality_random": "orthogonality of white random filters",
    "sparsity": "share of slices without a weight of at least 1% of the largest",
    "variance_entropy": "entropy of the variances of the principal components of 3x3 slices",
    "variance_entropy_random": "variance entropy from which slices count as random",
}
"""Name of a number -> its meaning."""


@own_settings()
def filter_quality(filters: ArrayLike) -> dict[str, float]:
    r"""Return numbers that describe the quality of a bank of filters.

    None depends on the scale of the bank. With k filters :math:`w_j` of d = c kh kw weights, the
    rows of W:

    **dead**: number of filters with :math:`\|w_j\| < 0.01 \max_i \|w_i\|`.

    **duplicates**, **duplicate_groups**: filters that are not dead and whose cosine with each other
    is above 0.99 or below -0.99 are in one group; so are filters that are linked by others.
    ``duplicates`` is the number of filters beyond the first of each group.

    **effective_rank**: with :math:`C = W^\top W / k`,

    .. math:: \frac{(\operatorname{tr} C)^2}{\operatorname{tr} C^2}

    between 1 and the smaller of k and d. For independent normal weights its harmonic mean is
    :math:`(kd + 2) / (k + d + 1)`: ``effective_rank_random``.

    **orthogonality**: :math:`1 - \frac{1}{k (k-1)} \sum_{i \ne j} |\cos(w_i, w_j)|`, where a filter
    of zeros has cosine 0. Its expectation for independent normal weights is
    :math:`1 - \Gamma(d/2) / (\sqrt\pi\, \Gamma((d+1)/2))`: ``orthogonality_random``.

    **sparsity**: share of the n = k c slices (one channel of one filter) whose largest absolute
    weight is below 1% of the largest in the bank.

    **variance_entropy**: for slices of 3x3 pixels. With :math:`v_i` the share of the variance of
    the slices along their i-th principal component (mean of the slices removed),
    :math:`-\sum_i v_i \log_{10} v_i`, between 0 and :math:`\log_{10} 9 = 0.954`. Slices count as
    random above a threshold that was fitted to normal weights, ``variance_entropy_random``:

    .. math:: \frac{1.262}{1 + \exp(-0.888 (\log_2 n - 2.304))} - 0.311

    Sources: Gavrikov and Keuper (2022), "CNN Filter DB: An Empirical Investigation of Trained
    Convolutional Filters"; arXiv:2203.15331, for sparsity, variance entropy and orthogonality. Roy
    and Vetterli (2007) and others define effective ranks by entropies; the ratio of traces is the
    participation ratio.

    Parameters
    ----------
    filters : (k, c, kh, kw)

    Returns
    -------
    dict
        Name -> number. ``orthogonality`` is NaN for a single filter; the two numbers of the
        variance entropy are NaN for kernels other than 3x3, and its threshold for two slices. For a
        bank of zeros all filters are dead, sparsity is 1, and the other numbers that depend on the
        weights are NaN, with a :class:`RepsimWarning`.

    Raises
    ------
    ShapeError
        For an array that is not (k, c, kh, kw), or is empty.
    DataError
        For weights that are NaN or infinite.

    Warns
    -----
    RepsimWarning
        For a bank of zeros.

    Examples
    --------
    >>> bank = np.eye(27)[:8].reshape(8, 3, 3, 3)
    >>> bank[6], bank[7] = -2 * bank[0], 0
    >>> found = filter_quality(bank)
    >>> found["filters"], found["dead"], found["duplicates"], found["duplicate_groups"]
    (8, 1, 1, 1)
    >>> round(found["effective_rank"], 3), round(found["orthogonality"], 3)
    (3.333, 0.964)
    """
    bank = array_of(filters)
    if bank.ndim != 4 or bank.size == 0:
        raise ShapeError(f"got filters of shape {bank.shape}, expected (k, c, kh, kw), not empty")
    if not np.isfinite(bank).all():
        raise DataError("got filters with NaN or infinite weights, expected numbers")
    k, c, kh, kw = bank.shape
    largest = np.abs(bank).max()
    if largest == 0:
        warn("all filters are zero, so that their rank, cosines and entropy are undefined (NaN)")
    rows = (bank / (largest or 1)).reshape(k, -1)
    slices = rows.reshape(k * c, kh * kw)
    norms = np.linalg.norm(rows, axis=1)
    dead = norms < DEAD_SHARE * norms.max() if largest else np.ones(k, bool)
    cosines = _cosines(rows, norms)
    duplicates, groups = _duplicates(cosines[~dead][:, ~dead])
    published = (kh, kw) == KERNEL_OF_ENTROPY
    return {
        "filters": k,
        "dead": int(dead.sum()),
        "duplicates": duplicates,
        "duplicate_groups": groups,
        "effective_rank": _effective_rank(rows),
        "effective_rank_random": (k * rows.shape[1] + 2) / (k + rows.shape[1] + 1),
        "orthogonality": _orthogonality(cosines) if largest else np.nan,
        "orthogonality_random": _random_orthogonality(k, rows.shape[1]),
        "sparsity": float((np.abs(slices).max(1) < (DEAD_SHARE if largest else 1)).mean()),
        "variance_entropy": _variance_entropy(slices) if published and largest else np.nan,
        "variance_entropy_random": _entropy_threshold(len(slices)) if published else np.nan,
    }


def _cosines(rows: Array, norms: Array) -> Array:
    """Return the (k, k) cosines of filters, 0 for filters of zeros."""
    unit = rows / np.where(norms > 0, norms, 1)[:, None]
    cosines: Array = unit @ unit.T
    return cosines


def _duplicates(cosines: Array) -> tuple[int, int]:
    """Return the number of filters beyond the first of each group, and that of the groups."""
    if not len(cosines):
        return 0, 0
    count, group = connected_components(np.abs(cosines) > DUPLICATE_COSINE, directed=False)
    sizes = np.bincount(group, minlength=count)
    return int((sizes - 1).sum()), int((sizes > 1).sum())


def _effective_rank(rows: Array) -> float:
    """Return the participation ratio of the eigenvalues of the covariance, NaN for zeros."""
    variances = np.linalg.svd(rows, compute_uv=False) ** 2
    total = float(variances.sum())
    return total**2 / float((variances**2).sum()) if total else np.nan


def _orthogonality(cosines: Array) -> float:
    k = len(cosines)
    if k < 2:
        return np.nan
    return 1 - float(np.abs(cosines - np.diag(np.diag(cosines))).sum()) / (k * (k - 1))


def _random_orthogonality(k: int, d: int) -> float:
    if k < 2:
        return np.nan
    return 1 - float(np.exp(gammaln(d / 2) - gammaln((d + 1) / 2))) / float(np.sqrt(np.pi))


def _variance_entropy(slices: Array) -> float:
    """Return the entropy of the shares of variance, 0 for slices that do not vary."""
    variances = np.linalg.svd(slices - slices.mean(0), compute_uv=False) ** 2
    total = variances.sum()
    shares = variances / total if total else variances
    return float(-xlogy(shares, shares).sum() / np.log(10)) + 0.0  # -0.0 becomes 0.0


def _entropy_threshold(n: int) -> float:
    """Return the variance entropy from which n slices of 3x3 pixels count as random."""
    height, slope, middle, offset = 1.2618047, 0.88767525, 2.30436435, -0.31050834
    threshold = float(height / (1 + np.exp(-slope * (np.log2(n) - middle))) + offset)
    return threshold if threshold > 0 else np.nan
