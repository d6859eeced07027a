"""A convolution that whitens gray images, fitted to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.settings import own_settings

__all__ = ["KERNEL_SIDE", "gray", "whitened", "whitening_kernel"]

KERNEL_SIDE = 7
"""Height and width of the kernel in pixels."""

MAX_IMAGES = 1000
"""Images that the kernel is fitted to."""

NOISE = 0.2
"""Variance that counts as noise, relative to the mean variance of a pixel of a gray patch."""


def gray(images: Tensor) -> Tensor:
    """Return the mean over the channels of (n, c, h, w) images, as (n, 1, h, w) float32.

    Pixels of type uint8 are divided by 255.
    """
    unit = 255 if images.dtype == torch.uint8 else 1
    return images.float().mean(1, keepdim=True) / unit


@own_settings()
def whitening_kernel(images: Tensor) -> Tensor:
    r"""Return the kernel of a convolution that whitens gray images.

    It is the central row of the matrix

    .. math:: \sum_i \frac{\lambda_i}{\lambda_i^2 + \epsilon v}\, u_i u_i^\top,\qquad
        v = \frac1d \sum_i \lambda_i^2

    with the principal components :math:`u_i` and variances :math:`\lambda_i^2` of gray patches of
    7x7 pixels. For variances far above :math:`\epsilon v` this is whitening,
    :math:`1 / \lambda_i`. Components with less variance are suppressed as noise. Olshausen and
    Field (1997), whose whitening Lee et al. (2009) use, suppress high frequencies in the
    same way, by a filter. The mean of the kernel is subtracted, so that uniform regions become 0,
    and its scale gives whitened pixels the variance 1.

    At most 1000 images are used, at equal distances in their order.

    Parameters
    ----------
    images : (n, c, h, w), uint8 or float

    Returns
    -------
    (7, 7) float32, for pixels of :func:`gray`

    Raises
    ------
    ShapeError
        For images of fewer than 7x7 pixels.
    DataError
        For images without contrast.
    """
    n, _, h, w = images.shape
    if min(h, w) < KERNEL_SIDE:
        raise ShapeError(
            f"got images of {h}x{w} pixels, expected at least {KERNEL_SIDE}x{KERNEL_SIDE} to "
            "whiten them; use larger images"
        )
    some = gray(images[:: -(-n // MAX_IMAGES)])
    covariance = patch_moments(some, (KERNEL_SIDE, KERNEL_SIDE)).covariance()
    variances, components = torch.linalg.eigh(covariance)
    variances = variances.clamp_min(0)
    mean = variances.mean()
    if not mean > 0:
        raise DataError("got images of a single gray, expected images with contrast; use others")
    factors = variances.sqrt() / (variances + NOISE * mean)
    kernel = (components * factors)[len(components) // 2] @ components.T
    kernel = kernel - kernel.mean()
    kernel = kernel / (kernel @ covariance @ kernel).sqrt()
    square: Tensor = kernel.reshape(KERNEL_SIDE, KERNEL_SIDE).float()
    return square


def whitened(images: Tensor, kernel: Tensor) -> Tensor:
    """Return gray, whitened images, smaller by the kernel less one pixel.

    Parameters
    ----------
    images : (n, c, h, w), uint8 or float
    kernel : (kh, kw), of :func:`whitening_kernel`

    Returns
    -------
    (n, 1, h - kh + 1, w - kw + 1) float32
    """
    return functional.conv2d(gray(images), kernel[None, None])
