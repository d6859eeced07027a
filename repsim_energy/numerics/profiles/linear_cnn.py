"""Filters of a linear CNN under gradient descent: step by step, and in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.arrays import array_of, finite_or_nan, takes_arrays
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["simulate_linear_cnn", "solve_linear_cnn"]


@takes_arrays
@own_settings()
def simulate_linear_cnn(
    initial: ArrayLike,
    average_patches: ArrayLike,
    targets: ArrayLike,
    *,
    step_size: float,
    steps: int,
) -> NDArray[np.float64]:
    r"""Return the filters of a linear CNN after t simulated steps of gradient descent.

    .. math:: w_k(t+1) = w_k(t) - \eta\,\frac2n \sum_x (\hat y(x) - y(x))\,\bar p(x),\qquad
        \hat y(x) = \sum_k \bar p(x)^\top w_k

    :math:`\bar p(x)` is the average patch of image x. The network convolves the image with all
    filters, averages each response over the image and adds them up. The loss is the mean of
    :math:`(y - \hat y)^2` over the images.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Appendix A, Equation 8; arXiv:2206.02454.

    Parameters
    ----------
    initial : (k, d) filters before training
    average_patches : (n, d), of :func:`~repsim_energy.average_patches`
    targets : (n,) desired outputs y
    step_size : :math:`\eta`
    steps : t, a whole number

    Returns
    -------
    (k, d) float64. NaN, with an :class:`UndefinedSimilarityWarning`, where steps are so large that
    the filters leave the range of numbers.

    Raises
    ------
    ShapeError
        For arrays whose shapes do not fit together.
    UsageError
        For steps that are no whole number, or below 0.
    DataError
        For empty arrays, and numbers that are not finite.

    Examples
    --------
    >>> simulate_linear_cnn([[0.0]], [[1.0]], [1.0], step_size=0.25, steps=2)
    array([[0.75]])
    """
    filters = array_of(initial).copy()
    patches, y = array_of(average_patches), array_of(targets)
    if filters.ndim != 2 or y.ndim != 1 or patches.shape != (len(y), filters.shape[1]):
        raise ShapeError(
            f"filters {filters.shape}, average patches {patches.shape} and targets {y.shape} "
            "do not fit, expected (k, d), (n, d) and (n,)"
        )
    _check(steps, filters, patches, y, step_size)
    with np.errstate(over="ignore", invalid="ignore"):  # steps that diverge end as NaN
        for _ in range(steps):
            error = (patches @ filters.T).sum(1) - y
            filters -= step_size * 2 / len(y) * (error @ patches)
    return finite_or_nan(filters, "solution")


def _check(steps: int, *numbers: ArrayLike) -> None:
    """Refuse steps that cannot be counted, empty arrays, and numbers that are not finite."""
    if not isinstance(steps, int | np.integer) or steps < 0:
        raise UsageError(f"got steps={steps}, expected a whole number, at least 0")
    if not all(np.size(each) and np.isfinite(each).all() for each in numbers):
        raise DataError("arrays are empty, NaN or infinite, expected finite numbers; clean them")


@takes_arrays
@own_settings()
def solve_linear_cnn(
    initial: ArrayLike,
    second_moment: ArrayLike,
    cross_moment: ArrayLike,
    *,
    step_size: float,
    steps: int,
) -> NDArray[np.float64]:
    r"""Return the filters of a linear CNN after t steps of gradient descent, in closed form.

    .. math:: \bar w(t+1) = \bar w(t) - 2\eta\,(K A \bar w(t) - b)

    This is the mean of the K filters, solved along the eigenvectors of A. Every filter moves by the
    same vector. The network is :math:`\hat y = \sum_k \bar p^\top w_k` with the average patch
    :math:`\bar p` of the image, and the loss is the mean of :math:`(y-\hat y)^2`.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Appendix A, Equations 8 to 13; arXiv:2206.02454.
    The factors 2 and K of the gradient are kept, and the initial mean need not be zero.

    Parameters
    ----------
    initial : (k, d) filters before training
    second_moment : (d, d) :math:`A = E[\bar p \bar p^\top]`
    cross_moment : (d,) :math:`b = E[\bar p\, y]`
    step_size : :math:`\eta`
    steps : t, a whole number

    Returns
    -------
    (k, d) float64. NaN, with an :class:`UndefinedSimilarityWarning`, where steps are so large that
    the filters leave the range of numbers.

    Raises
    ------
    ShapeError
        For arrays whose shapes do not fit together.
    UsageError
        For steps that are no whole number, or below 0.
    DataError
        For empty arrays, numbers that are not finite, and a second moment that is not symmetric.

    Examples
    --------
    >>> solve_linear_cnn([[0.0]], [[1.0]], [1.0], step_size=0.25, steps=2)
    array([[0.75]])
    """
    start, a, b = array_of(initial), array_of(second_moment), array_of(cross_moment)
    if start.ndim != 2 or a.shape != 2 * start.shape[1:] or b.shape != start.shape[1:]:
        raise ShapeError(
            f"filters {start.shape}, second moment {a.shape} and cross moment {b.shape} do not "
            "fit, expected (k, d), (d, d) and (d,)"
        )
    _check(steps, start, a, b, step_size)
    if not np.allclose(a, a.T, rtol=1e-9, atol=1e-9 * np.abs(a).max(initial=0.0)):
        raise DataError("the second moment is not symmetric, expected the mean of products p pᵀ")
    curvature, vectors = np.linalg.eigh(a)
    with np.errstate(over="ignore", invalid="ignore"):  # steps that diverge end as NaN
        rate = 2 * step_size * len(start) * curvature
        slow = np.minimum(rate, 0.5)  # 1 - (1 - rate)^t of a small rate needs expm1
        lost = np.where(rate < 0.5, -np.expm1(steps * np.log1p(-slow)), 1.0 - (1.0 - rate) ** steps)
        gain = np.divide(lost, rate, out=np.full_like(rate, float(steps)), where=rate != 0)
        mean = vectors.T @ start.mean(0)
        moved = vectors @ (2 * step_size * gain * (vectors.T @ b) - lost * mean)
    filters: NDArray[np.float64] = start + moved
    return finite_or_nan(filters, "solution")
