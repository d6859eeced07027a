"""Convolutions as explicit sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse import csr_array, kron

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

__all__ = ["convolution_matrix"]


@own_settings()
def convolution_matrix(
    filters: ArrayLike | Tensor,
    size: tuple[int, int],
    *,
    boundary: Literal["circular", "zeros"] = "circular",
) -> csr_array:
    r"""Return a convolutional layer as a sparse matrix.

    Flattened channel-first, the output of the layer is :math:`W^\top x`, a bias apart:

    .. math:: (W^\top x)_{kij}
        = \sum_{c,a,b} w_{kcab}\, x_{c,\; i+a-\lfloor (h_k-1)/2 \rfloor,
        \; j+b-\lfloor (w_k-1)/2 \rfloor}

    This is ``nn.Conv2d(..., padding="same", padding_mode=boundary)`` with stride 1. With a circular
    boundary, each pair of channels is a block-circulant matrix with circulant blocks.

    Source: Papyan, Romano and Elad (2017), "Convolutional Neural Networks Analyzed via
    Convolutional Sparse Coding", section 2; arXiv:1607.08194.

    Parameters
    ----------
    filters : (k, c, hk, wk), as of ``nn.Conv2d.weight``
    size : (h, w), height and width of the input and the output in pixels
    boundary : circular, where pixels beyond a border are those at the opposite one, or zeros

    Returns
    -------
    (k * h * w, c * h * w) sparse float64: W transposed, in units of the filters, with at most
    k * c * hk * wk * h * w entries of 12 bytes

    Raises
    ------
    ShapeError
        For filters or a size of another shape.
    UsageError
        For another boundary.

    Examples
    --------
    >>> convolution_matrix(np.array([[[[1.0, 2.0, 3.0]]]]), (1, 4)).toarray()
    array([[2., 3., 0., 1.],
           [1., 2., 3., 0.],
           [0., 1., 2., 3.],
           [3., 0., 1., 2.]])
    """
    bank = array_of(filters)
    if bank.ndim != 4 or 0 in bank.shape:
        raise ShapeError(f"filters have shape {bank.shape}, expected (k, c, hk, wk); reshape them")
    if not np.isfinite(bank).all():
        raise DataError("filters are NaN or infinite, expected finite numbers; clean them")
    if len(size) != 2 or min(size) < 1:
        raise ShapeError(f"got size {tuple(size)}, expected height and width in pixels, (h, w)")
    if boundary not in ("circular", "zeros"):
        raise UsageError(f"got boundary '{boundary}', expected circular or zeros")
    k, c, rows, columns = bank.shape
    matrix = csr_array((k * size[0] * size[1], c * size[0] * size[1]))
    for row, column in np.ndindex(rows, columns):
        down = _shift(size[0], row - (rows - 1) // 2, boundary)
        right = _shift(size[1], column - (columns - 1) // 2, boundary)
        between = csr_array(bank[:, :, row, column])
        matrix = matrix + csr_array(kron(between, kron(down, right)))
    return matrix


def _shift(length: int, offset: int, boundary: str) -> csr_array:
    """Return the (n, n) matrix that reads entry i + offset at entry i."""
    places = np.arange(length)
    read = places + offset
    if boundary == "circular":
        read %= length
    inside = (read >= 0) & (read < length)
    entries = (np.ones(int(inside.sum())), (places[inside], read[inside]))
    return csr_array(entries, shape=(length, length))
