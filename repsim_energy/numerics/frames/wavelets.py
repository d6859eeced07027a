"""Haar and Daubechies wavelets on patches of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import not_installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["daubechies", "haar"]


def haar(height: int, width: int) -> Values:
    r"""Return the orthonormal basis of Haar wavelets on a patch of any size.

    Each rectangle is divided into halves along both sides; of an odd side, the first part has one
    pixel more. With l and r pixels in the two parts of a side of m pixels, its step is

    .. math:: \psi = \sqrt{\tfrac{r}{l m}} \text{ on the first part},\qquad
        -\sqrt{\tfrac{l}{r m}} \text{ on the second}

    and :math:`\varphi = 1/\sqrt m`. A rectangle contributes :math:`\varphi\psi` (vertical edge),
    :math:`\psi\varphi` (horizontal edge) and :math:`\psi\psi`, then the same is done in each part.
    On sides that are powers of 2 these are the classical Haar wavelets.

    Source: Haar (1910), "Zur Theorie der orthogonalen Funktionensysteme"; doi:10.1007/BF01456326.
    For parts of unequal size: Girardi and Sweldens (1997), "A new class of unbalanced Haar
    wavelets that form an unconditional basis for L_p on general measure spaces";
    doi:10.1007/BF02649107.

    Parameters
    ----------
    height, width : of the patch; any size from 1x1

    Returns
    -------
    (h w, h, w), unit norm: the constant, then from large rectangles to small ones
    """
    filters = [np.full((height, width), 1 / np.sqrt(height * width))]
    rectangles = [(0, height, 0, width)]
    while rectangles:
        top, bottom, left, right = rectangles.pop(0)
        rows, columns = _halves(height, top, bottom), _halves(width, left, right)
        filters += [np.outer(a, b) for a in rows for b in columns][1:]  # the first is constant
        if (bottom - top) * (right - left) > 1:
            rectangles += [
                (*vertical, *horizontal)
                for vertical in _parts(top, bottom)
                for horizontal in _parts(left, right)
            ]
    return np.stack(filters)


def _parts(start: int, end: int) -> list[tuple[int, int]]:
    middle = (start + end + 1) // 2
    return [(start, middle), (middle, end)] if end - start > 1 else [(start, end)]


def _halves(size: int, start: int, end: int) -> list[Values]:
    """Return the constant and, if there are two parts, the step of an interval of a side."""
    m = end - start
    constant, step = np.zeros(size), np.zeros(size)
    constant[start:end] = 1 / np.sqrt(m)
    if m == 1:
        return [constant]
    middle = (start + end + 1) // 2
    first, second = middle - start, end - middle
    step[start:middle] = np.sqrt(second / (first * m))
    step[middle:end] = -np.sqrt(first / (second * m))
    return [constant, step]


def daubechies(order: int) -> Callable[[int, int], Values]:
    """Return the function (height, width) -> (n, h, w) wavelets of an order, 2 to 8."""
    return partial(_daubechies, order)


def _daubechies(order: int, height: int, width: int) -> Values:
    r"""Return Daubechies wavelets that continue periodically at the border of the patch.

    One level divides a side with the low-pass filter :math:`h` and the high-pass filter
    :math:`g_k = (-1)^k h_{2N-1-k}`, for order N:

    .. math:: \varphi_j(x) = \sum_k h_k\, [x \equiv 2j + k],\qquad
        \psi_j(x) = \sum_k g_k\, [x \equiv 2j + k] \pmod{\text{side}}

    A side of even length has these at every second pixel, which are an orthonormal basis. A side
    of odd length has no such basis. It has all shifts :math:`x \equiv j + k`, divided by
    :math:`\sqrt2`, which are a Parseval frame: :math:`\sum_k \langle w_k, p \rangle^2 = \|p\|^2`.
    The filters of a patch are the products of those of its sides. While both sides are even or 1,
    the products of two low-pass filters are divided again.

    On patches that are smaller than 2N pixels, the filters overlap themselves.

    Source: Daubechies (1988), "Orthonormal bases of compactly supported wavelets";
    doi:10.1002/cpa.3160410705. Coefficients from PyWavelets.

    Parameters
    ----------
    order : N, number of vanishing moments
    height, width : of the patch; any size from 1x1

    Returns
    -------
    (n, h, w) with n = h w, times 2 for each side that is odd and longer than 1: low-pass
    filters, then from coarse to fine the wavelets that are high-pass along x, along y, and along
    both; each in the order of its positions. Norm 1 without odd sides, else shorter
    """
    low_pass = _coefficients(order)
    coarse: Values = np.eye(height * width)
    details: list[Values] = []
    sides = [height, width]
    while max(sides) > 1:
        (y_low, y_high), (x_low, x_high) = (_level(low_pass, side) for side in sides)
        detail = [np.kron(y_low, x_high), np.kron(y_high, x_low), np.kron(y_high, x_high)]
        details.insert(0, np.concatenate(detail) @ coarse)
        coarse = np.kron(y_low, x_low) @ coarse
        sides = [len(y_low), len(x_low)]
        if any(side > 1 and side % 2 for side in sides):
            break
    return np.concatenate([coarse, *details]).reshape(-1, height, width)


def _level(low_pass: Values, size: int) -> tuple[Values, Values]:
    """Return the low-pass and the high-pass filters of one level on a side, one in each row."""
    if size == 1:
        return np.ones((1, 1)), np.zeros((0, 1))
    high_pass = low_pass[::-1] * (-1.0) ** np.arange(len(low_pass))
    step, norm = (2, 1.0) if size % 2 == 0 else (1, np.sqrt(0.5))
    starts, k = np.arange(0, size, step), np.arange(len(low_pass))
    filters = []
    for coefficients in (low_pass, high_pass):
        rows = np.zeros((len(starts), size))
        places = (starts[:, None] + k) % size
        np.add.at(rows, (np.arange(len(starts))[:, None], places), norm * coefficients)
        filters.append(rows)
    return filters[0], filters[1]


def _coefficients(order: int) -> Values:
    """Return the low-pass filter of an order, from PyWavelets."""
    try:
        import pywt
    except ImportError as error:
        raise not_installed(f"frame 'db{order}' needs PyWavelets", "lecture") from error
    return np.array(pywt.Wavelet(f"db{order}").rec_lo)
