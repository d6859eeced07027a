"""Orthonormal bases of waves: the cosine and the Fourier transform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["cosine_basis", "dct", "fourier"]


def cosine_basis(size: int) -> Values:
    r"""Return the orthonormal cosines of a line (DCT-II), one in each row.

    .. math:: a_k(x) = \sqrt{\tfrac{2 - \delta_{k0}}{N}} \cos\frac{\pi k (2x + 1)}{2N}

    Parameters
    ----------
    size : N

    Returns
    -------
    (N, N), by frequency k / 2N

    Examples
    --------
    >>> cosine_basis(3).round(2).tolist()
    [[0.58, 0.58, 0.58], [0.71, 0.0, -0.71], [0.41, -0.82, 0.41]]
    """
    k, x = np.arange(size)[:, None], np.arange(size)
    waves = np.cos(np.pi * k * (2 * x + 1) / (2 * size)) * np.sqrt(2 / size)
    waves[0] = np.sqrt(1 / size)
    waves[np.abs(waves) < 1e-15] = 0.0
    return np.asarray(waves, dtype=np.float64)


def dct(height: int, width: int) -> Values:
    r"""Return the orthonormal basis of the two-dimensional cosine transform (DCT-II).

    .. math:: f_{km}(y, x) = a_k(y)\, a_m(x)

    with the cosines :math:`a` of :func:`cosine_basis`.

    Source: Ahmed, Natarajan and Rao (1974), "Discrete Cosine Transform";
    doi:10.1109/T-C.1974.223784.

    Parameters
    ----------
    height, width : of the patch; any size from 1x1

    Returns
    -------
    (h w, h, w), unit norm, by frequency :math:`\sqrt{(k/2h)^2 + (m/2w)^2}`, then k
    """
    rows, columns = cosine_basis(height), cosine_basis(width)
    waves = np.einsum("ky,lx->klyx", rows, columns).reshape(-1, height, width)
    vertical, horizontal = np.divmod(np.arange(height * width), width)
    order = _by_frequency(vertical / (2 * height), horizontal / (2 * width))
    return np.asarray(waves[order], dtype=np.float64)


def fourier(height: int, width: int) -> Values:
    r"""Return the discrete Fourier transform in real form, an orthonormal basis.

    .. math:: \sqrt{\tfrac2{hw}} \cos 2\pi\left(\tfrac{ky}h + \tfrac{mx}w\right),\qquad
        \sqrt{\tfrac2{hw}} \sin 2\pi\left(\tfrac{ky}h + \tfrac{mx}w\right)

    for one of each pair of frequencies (k, m) and (-k, -m). Frequencies that are their own
    opposite (0, and half of an even side) have one cosine with the factor
    :math:`\sqrt{1/hw}` and no sine.

    Parameters
    ----------
    height, width : of the patch; any size from 1x1

    Returns
    -------
    (h w, h, w), unit norm, by frequency in cycles per pixel, then k, m, and cosine before sine
    """
    y, x = np.mgrid[:height, :width]
    frequencies, waves = [], []
    for k, m in np.ndindex(height, width):
        opposite = (-k % height, -m % width)
        if (k, m) > opposite:
            continue
        turns = ((k * width * y + m * height * x) % (height * width)) / (height * width)
        alone = (k, m) == opposite
        norm = np.sqrt((1 if alone else 2) / (height * width))
        pair = [np.cos(2 * np.pi * turns)] + [np.sin(2 * np.pi * turns)] * (not alone)
        waves += [norm * wave for wave in pair]
        frequencies += [(min(k, height - k) / height, min(m, width - m) / width)] * len(pair)
    vertical, horizontal = np.array(frequencies).T
    return np.asarray(np.stack(waves)[_by_frequency(vertical, horizontal)], dtype=np.float64)


def _by_frequency(vertical: Values, horizontal: Values) -> NDArray[np.intp]:
    """Return the stable order by frequency, rounded so that equal ones stay in order."""
    return np.argsort(np.hypot(vertical, horizontal).round(12), kind="stable")
