"""The linear CNN of the theory: gradient descent step by step, and its closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.numerics.arrays import array_of, takes_arrays
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
    r"""Return the filters of a linear CNN after t steps of gradient descent, one by one.

    The network is :math:`\hat y(x) = \sum_k \bar p(x)^\top w_k`, which equals convolving the image
    with every filter, averaging over places and adding up. Each step takes the gradient of the
    mean of :math:`(y - \hat y)^2` over the images, with no use of second moments.

    Source: Chowers & Weiss (2023), Appendix A, Equation 8.

    Parameters
    ----------
    initial : (k, d) filters before training
    average_patches : (n, d) each image's average patch
    targets : (n,) what the network is to answer
    step_size : :math:`\eta`
    steps : t, a whole number

    Returns
    -------
    (k, d) float64

    Examples
    --------
    >>> simulate_linear_cnn([[0.0]], [[1.0]], [1.0], step_size=0.25, steps=2)
    array([[0.75]])
    """
    filters = array_of(initial).copy()
    patches, wanted = array_of(average_patches), array_of(targets)
    if filters.ndim != 2 or patches.shape != (len(wanted), filters.shape[1]):
        raise ShapeError(
            f"filters {filters.shape}, average patches {patches.shape} and targets {wanted.shape} "
            "do not fit, expected (k, d), (n, d) and (n,)"
        )
    for _ in range(steps):
        error = (patches @ filters.T).sum(1) - wanted
        filters -= step_size * 2 / len(wanted) * (error @ patches)
    return filters


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

    The network is :math:`\hat y = \sum_k \bar p^\top w_k` with the image's average patch
    :math:`\bar p`, the loss the mean of :math:`(y-\hat y)^2`. Every filter moves by the same
    vector, and the mean filter follows

    .. math:: \bar w(t+1) = \bar w(t) - 2\eta\,(K A \bar w(t) - b),

    which is solved along the eigenvectors of A.

    Source: Chowers & Weiss (2023), Appendix A, Equations 8 to 13, with the factors 2 and K of the
    gradient kept and a non-zero initial mean allowed.

    Parameters
    ----------
    initial : (k, d) filters before training
    second_moment : (d, d) :math:`A = E[\bar p \bar p^\top]`
    cross_moment : (d,) :math:`b = E[\bar p\, y]`
    step_size : :math:`\eta`
    steps : t, a whole number

    Returns
    -------
    (k, d) float64

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
    if not np.allclose(a, a.T, rtol=1e-9, atol=1e-9 * np.abs(a).max(initial=0.0)):
        raise DataError("the second moment is not symmetric, expected the mean of products p pᵀ")
    curvature, vectors = np.linalg.eigh(a)
    rate = 2 * step_size * len(start) * curvature
    slow = np.minimum(rate, 0.5)  # where the power is close to 1, its distance needs expm1
    lost = np.where(rate < 0.5, -np.expm1(steps * np.log1p(-slow)), 1.0 - (1.0 - rate) ** steps)
    gain = np.divide(lost, rate, out=np.full_like(rate, float(steps)), where=rate != 0)
    mean = vectors.T @ start.mean(0)
    moved = vectors @ (2 * step_size * gain * (vectors.T @ b) - lost * mean)
    filters: NDArray[np.float64] = start + moved
    return filters
