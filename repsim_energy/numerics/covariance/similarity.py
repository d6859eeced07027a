"""Similarity of covariances of filter banks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from repsim_energy.errors import ShapeError, UndefinedSimilarityWarning, unknown_name, warn
from repsim_energy.numerics.covariance.matrix import square_matrix
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    OneWithOthers = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["CovarianceKind", "check_kind", "compare_covariances", "covariance_values"]

CovarianceKind = Literal["cosine", "bures", "operator"]


@own_settings()
def compare_covariances(a: ArrayLike, b: ArrayLike, *, kind: CovarianceKind = "cosine") -> float:
    r"""Return the similarity or distance of two covariances of filters.

    .. math:: \text{cosine} = \frac{\langle A, B\rangle}{\|A\|_F\,\|B\|_F}, \qquad
        \text{bures} = \frac{\operatorname{tr}\sqrt{A^{1/2} B A^{1/2}}}
        {\sqrt{\operatorname{tr}A\,\operatorname{tr}B}}, \qquad
        \text{operator} = \left\|\frac{A}{\|A\|_\infty} - \frac{B}{\|B\|_\infty}\right\|_\infty

    :math:`\|\cdot\|_\infty` is the largest absolute eigenvalue. All three are symmetric,
    independent of the scale of both banks, and between 0 and 1. ``operator`` is a distance, 0 for
    equal covariances; the others are 1 for those.

    Source: Tang, Maddox, Dickens, Diethe and Damianou (2020), "Similarity of Neural Networks with
    Gradients", arXiv:2003.11498, for the normalized Bures similarity.

    Source: Guth, Ménard, Rochette and Mallat (2024), "A Rainbow in Deep Network Black Boxes",
    arXiv:2305.18512, for the operator norm relative to that of a reference; here both have norm 1.

    Parameters
    ----------
    a, b : (r, r) covariances on one basis, of :func:`filter_covariance`. Components that are NaN in
        both are left out: in results these are components without variance
    kind : ``cosine``, ``bures`` or ``operator``

    Returns
    -------
    float
        In [0, 1]. NaN, with an :class:`UndefinedSimilarityWarning`, for a covariance that is zero
        or not finite.

    Raises
    ------
    ShapeError
        For covariances that are not square or differ in size.
    UsageError
        For another kind.

    Warns
    -----
    UndefinedSimilarityWarning
        For a covariance that is zero or not finite.

    Examples
    --------
    >>> one, other = np.diag([2.0, 1.0]), np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> kinds = ("cosine", "bures", "operator")
    >>> [round(compare_covariances(one, other, kind=kind), 3) for kind in kinds]
    [0.845, 0.933, 0.564]
    """
    check_kind(kind)
    x, y = square_matrix(a), square_matrix(b)
    if x.shape != y.shape:
        raise ShapeError(
            f"covariances have shapes {x.shape} and {y.shape}, expected equal ones; measure both "
            "on one basis"
        )
    return float(covariance_values(np.stack([x, y]), kind)[0, 1])


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of comparison."""
    if kind not in get_args(CovarianceKind):
        raise unknown_name("kind of covariance similarity", str(kind), get_args(CovarianceKind))


def covariance_values(stack: NDArray[np.float64], kind: CovarianceKind) -> NDArray[np.float64]:
    """Return the (m, m) values of all pairs of (m, r, r) covariances.

    Warns
    -----
    UndefinedSimilarityWarning
        For a covariance that is zero or not finite, whose values are NaN.
    """
    largest = np.abs(stack).max((1, 2))
    defined = np.isfinite(largest) & (largest > 0)
    if not defined.all():
        warn(
            "a covariance of filters is zero or not finite, its similarity is undefined and "
            "reported as NaN",
            UndefinedSimilarityWarning,
        )
    values = np.full((len(stack), len(stack)), np.nan)
    if defined.any():
        known = stack[defined] / largest[defined, None, None]
        values[np.ix_(defined, defined)] = np.clip(_FUNCTIONS[kind](known), 0.0, 1.0)
    return values


def _cosines(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = stack.reshape(len(stack), -1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines: NDArray[np.float64] = rows @ rows.T
    return cosines


def _bures_similarities(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nuclear norms of products of square roots, which are the traces in the formula."""
    eigenvalues, vectors = np.linalg.eigh(stack)
    roots = np.sqrt(np.maximum(eigenvalues, 0.0))
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    factors = (vectors * roots[:, None, :]) @ vectors.transpose(0, 2, 1)
    return _of_pairs(
        factors, lambda one, others: np.linalg.svd(one @ others, compute_uv=False).sum(-1)
    )


def _operator_distances(stack: NDArray[np.float64]) -> NDArray[np.float64]:
    unit = stack / np.abs(np.linalg.eigvalsh(stack)).max(1)[:, None, None]
    return _of_pairs(unit, lambda one, others: np.abs(np.linalg.eigvalsh(others - one)).max(-1))


def _of_pairs(stack: NDArray[np.float64], value: OneWithOthers) -> NDArray[np.float64]:
    values = np.zeros((len(stack), len(stack)))
    for i, one in enumerate(stack):
        values[i, i:] = values[i:, i] = value(one, stack[i:])
    return values


_FUNCTIONS = {
    "cosine": _cosines,
    "bures": _bures_similarities,
    "operator": _operator_distances,
}
