"""Gabor functions on patches of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["gabor"]

SHORTEST_WAVELENGTH = 3.0
"""Wavelength of the finest octave in pixels. At 2, the sine would vanish on the pixels."""

SIGMA = float(np.sqrt(np.log(2) / 2) * 3 / np.pi)
"""Standard deviation of the envelope per wavelength, for a bandwidth of one octave: 0.56."""

MIN_NORM = 1e-9
"""Norm, relative to the envelope, below which a function is zero on the pixels."""


def gabor(height: int, width: int, *, orientations: int = 6) -> Values:
    r"""Return Gabor functions, centered in the patch, and their low-pass filter.

    .. math:: f(y, x) = e^{-(x^2 + y^2) / 2\sigma^2}
        \left(\cos \tfrac{2\pi}{\lambda}(x \cos\theta + y \sin\theta) - m\right),\qquad
        e^{-(x^2 + y^2) / 2\sigma^2} \sin \tfrac{2\pi}{\lambda}(x \cos\theta + y \sin\theta)

    with the wavelengths :math:`\lambda = 3, 6, 12, \dots` pixels up to the longer side,
    :math:`\sigma = 0.56 \lambda` (a bandwidth of one octave, so that neighboring octaves meet
    at half of their maximum), :math:`\theta = 0, \pi/K, 2\pi/K, \dots`, and m such that the sum
    is 0. The low-pass filter is a Gaussian of half the largest :math:`\sigma`, which is at half
    of its maximum where the lowest octave is. With six orientations, no frequency between two
    octaves has less than a third of the maximum in all spectra. Functions that vanish on the
    pixels, such as waves across a patch of one row, are left out.

    Source: Daugman (1985), "Uncertainty relation for resolution in space, spatial frequency, and
    orientation optimized by two-dimensional visual cortical filters";
    doi:10.1364/JOSAA.2.001160.

    Parameters
    ----------
    height, width : of the patch; any size from 1x1
    orientations : K, number of orientations

    Returns
    -------
    (n, h, w), unit norm: the low-pass filter, then from long to short wavelengths, by
    orientation, cosine before sine. n = 1 + 2 K octaves, less where functions vanish

    Raises
    ------
    UsageError
        For fewer than one orientation.
    """
    if orientations < 1:
        raise UsageError(f"got orientations={orientations}, expected a number from 1")
    y: Values = np.arange(height, dtype=np.float64)[:, None] - (height - 1) / 2
    x: Values = np.arange(width, dtype=np.float64) - (width - 1) / 2
    octaves = 1 + int(np.log2(max(height, width, SHORTEST_WAVELENGTH) / SHORTEST_WAVELENGTH))
    wavelengths = SHORTEST_WAVELENGTH * 2.0 ** np.arange(octaves)[::-1]
    filters = [_envelope(y, x, SIGMA * wavelengths[0] / 2)]
    for wavelength in wavelengths:
        envelope = _envelope(y, x, SIGMA * wavelength)
        for angle in np.pi * np.arange(orientations) / orientations:
            phase = 2 * np.pi / wavelength * (x * np.cos(angle) + y * np.sin(angle))
            cosine, sine = envelope * np.cos(phase), envelope * np.sin(phase)
            cosine -= envelope * (cosine.sum() / envelope.sum())
            smallest = MIN_NORM * np.linalg.norm(envelope)
            filters += [wave for wave in (cosine, sine) if np.linalg.norm(wave) > smallest]
    return np.stack([one / np.linalg.norm(one) for one in filters])


def _envelope(y: Values, x: Values, sigma: float) -> Values:
    envelope: Values = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return envelope
