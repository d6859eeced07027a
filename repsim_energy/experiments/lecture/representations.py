"""Fixed representations of images: the coefficients of waves, wavelets and curvelets.

Each is a Parseval frame: the squared coefficients of an image add up to its squared pixels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, lsqr

from repsim_energy.experiments.setting import Missing

__all__ = ["curvelet_errors", "fourier_errors", "wavelet_errors"]

Array = NDArray[np.float64]

PROJECTION_STEPS = 10
"""Steps of LSQR, after which the errors of curvelets have fallen to about a half."""


def fourier_errors(image: Array, terms: NDArray[np.int64]) -> Array:
    """Return the squared errors of the best approximations by n waves, for each n.

    The waves are orthonormal, so the error is the sum of the squared coefficients left out.
    """
    return _left_out(np.fft.fft2(image, norm="ortho"), terms)


def wavelet_errors(image: Array, terms: NDArray[np.int64], wavelet: str) -> Array:
    """Return the squared errors of the best approximations by n periodic orthonormal wavelets.

    Parameters
    ----------
    wavelet : a name of PyWavelets, such as ``haar`` or ``db4``
    """
    pywt = _library("pywt", "PyWavelets")
    levels = pywt.wavedec2(image, wavelet, mode="periodization")
    return _left_out(pywt.coeffs_to_array(levels)[0], terms)


def curvelet_errors(image: Array, terms: NDArray[np.int64]) -> Array:
    """Return the squared errors of approximations by n curvelets, for each n.

    The n curvelets are those of the largest coefficients. As curvelets are redundant, the image is
    then projected onto their span, by ten steps of LSQR. The errors are upper bounds of those of
    the best n curvelets. A coefficient is complex: the size and the phase of a curvelet.
    """
    transform = _curvelets(len(image))
    coefficients = transform.vect(transform.forward(image))
    order = np.argsort(np.abs(coefficients))[::-1]
    return np.array([_residual(image, transform, coefficients, order[:n]) for n in terms])


def _residual(
    image: Array, transform: Any, coefficients: Array, chosen: NDArray[np.int64]
) -> float:
    """Return the squared distance of an image from the span of the chosen curvelets."""
    count, space = len(chosen), np.zeros(len(coefficients), dtype=np.complex128)

    def synthesize(parts: Array) -> Array:
        space[:] = 0
        space[chosen] = parts[:count] + 1j * parts[count:]
        pixels: Array = np.real(transform.backward(transform.struct(space))).ravel()
        return pixels

    def analyze(pixels: Array) -> Array:
        found = transform.vect(transform.forward(pixels.reshape(image.shape)))[chosen]
        return np.concatenate([found.real, found.imag])

    curvelets = LinearOperator(
        (image.size, 2 * count), matvec=synthesize, rmatvec=analyze, dtype=np.float64
    )
    start = np.concatenate([coefficients[chosen].real, coefficients[chosen].imag])
    fitted, *_ = lsqr(curvelets, image.ravel(), iter_lim=PROJECTION_STEPS, x0=start)
    return float(np.square(image.ravel() - synthesize(fitted)).sum())


def _curvelets(size: int) -> Any:
    """Return the transform of images of a size; directions double at every second scale."""
    wedges = [[3 * 2 ** (scale // 2)] * 2 for scale in range(max(2, round(np.log2(size / 8))))]
    transform: Callable[..., Any] = _library("curvelets.numpy", "curvelets").UDCT
    return transform((size, size), angular_wedges_config=np.array(wedges))


def _left_out(coefficients: NDArray[Any], terms: NDArray[np.int64]) -> Array:
    """Return the sums of all but the n largest squared coefficients, for each n."""
    squares = np.sort(np.square(np.abs(coefficients)).ravel())  # the smallest first: exact sums
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    left_out: Array = sums[len(squares) - terms]
    return left_out


def _library(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Missing(f"needs {distribution}: pip install 'repsim-energy[lecture]'") from error
