"""Neural Feature Ansatz: agreement of filters with the gradients of their network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from repsim_energy.errors import ShapeError, UndefinedSimilarityWarning, UsageError, warn
from repsim_energy.numerics.arrays import array_of, takes_arrays
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["neural_feature_ansatz"]


@takes_arrays
@own_settings()
def neural_feature_ansatz(filters: Tensor, gradient: ArrayLike, *, alpha: float = 0.5) -> float:
    r"""Return the correlation of the filters of a layer with the gradients of its network.

    .. math:: \operatorname{corr}\bigl(\operatorname{vec} W^\top W,\;
        \operatorname{vec} G^{\alpha}\bigr)

    The Neural Feature Ansatz states that training makes them proportional. In a balanced linear
    network of two layers they are, with alpha = 1/2.

    Source: Radhakrishnan, Beaglehole, Pandit and Belkin (2024), "Mechanism for feature learning in
    neural networks and backpropagation-free machine learning models", Science 383;
    doi:10.1126/science.adi5639.

    Parameters
    ----------
    filters : (k, c, kh, kw), or (k, d) flattened channel-first
    gradient : (d, d) G, of :func:`gradient_covariance`
    alpha : power of G, by its eigenvalues; positive

    Returns
    -------
    float
        The Pearson correlation of all entries, in [-1, 1]. NaN, with an
        :class:`UndefinedSimilarityWarning`, if one of the matrices is constant or not finite.

    Raises
    ------
    ShapeError
        For a gradient of another size than the filters.
    UsageError
        For an alpha that is not positive.

    Warns
    -----
    UndefinedSimilarityWarning
        If the correlation is undefined.

    Examples
    --------
    >>> filters = np.array([[2.0, 0.0], [1.0, 1.0]])
    >>> gram = filters.T @ filters
    >>> round(neural_feature_ansatz(filters, gram @ gram), 12)
    1.0
    """
    if not (math.isfinite(alpha) and alpha > 0):
        raise UsageError(f"alpha is {alpha}, expected a positive number")
    flat = array_of(filters.flatten(1) if filters.ndim > 1 else filters)
    power = array_of(gradient)
    if flat.ndim != 2 or 0 in flat.shape or power.shape != (flat.shape[1], flat.shape[1]):
        raise ShapeError(
            f"filters have shape {tuple(filters.shape)} and gradient {power.shape}, expected "
            "(k, c, kh, kw) and (d, d) with d = c * kh * kw; use rs.gradient_covariance"
        )
    pair = np.zeros((2, power.size))
    with np.errstate(over="ignore", invalid="ignore"):  # of huge numbers: infinite, then undefined
        if np.isfinite(power).all() and np.isfinite(flat).all():
            pair = np.stack([(flat.T @ flat).ravel(), _power(power, alpha).ravel()])
        centered = pair - pair.mean(1, keepdims=True)
        norms = np.linalg.norm(centered, axis=1)
    least = 8 * np.finfo(np.float64).eps * np.linalg.norm(pair, axis=1)
    if not (np.isfinite(norms) & (norms > least)).all():
        warn(
            "the filters or the gradients are constant or not finite, their correlation is "
            "undefined and reported as NaN",
            UndefinedSimilarityWarning,
        )
        return math.nan
    return float(np.clip(np.prod(centered / norms[:, None], axis=0).sum(), -1.0, 1.0))


def _power(matrix: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return the power of a symmetric matrix, without negative eigenvalues, which are rounding."""
    scale = np.abs(matrix).max()
    if scale == 0:
        return matrix
    values, vectors = np.linalg.eigh((matrix + matrix.T) / (2 * scale))
    power: NDArray[np.float64] = (vectors * np.maximum(values, 0.0) ** alpha) @ vectors.T
    return power
