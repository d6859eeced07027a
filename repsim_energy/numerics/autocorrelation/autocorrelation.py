"""Spatial autocorrelation of images and of the responses of filters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.autocorrelation.lag_sums import lag_sums, pair_counts
from repsim_energy.numerics.patches.batches import check_batch, no_images, pixel_unit
from repsim_energy.numerics.patches.per_image import average_patches
from repsim_energy.numerics.settings import own_settings

__all__ = ["Autocorrelation", "PatchAutocovariance", "autocorrelation", "patch_autocovariance"]

CHUNK_BYTES = 64 * 2**20
"""Maximum size of the spectra of a chunk of images."""

MAX_IMAGE_NUMBERS = 4096
"""Numbers of an image up to which all pairs of them are multiplied. The products take 200 MB."""

MAX_SPECTRA_BYTES = 4 * 10**9
"""Maximum size of the spectra of all pairs of pixels of a patch."""


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    r"""Spatial autocorrelation up to a shift of m pixels, 1 at shift zero.

    Parameters
    ----------
    curve : (m + 1,) mean of ``horizontal`` and ``vertical``
    horizontal : (m + 1,) at shifts of 0 to m columns
    vertical : (m + 1,) at shifts of 0 to m rows
    map : (2m + 1, 2m + 1) :math:`C(\delta_y, \delta_x)`, shift zero in the middle

    Examples
    --------
    >>> stripes = torch.tensor([1.0, 0.0]).repeat(4).expand(1, 1, 8, 8)
    >>> found = autocorrelation(stripes, max_shift=2)
    >>> found.map.shape, found.vertical.round(decimals=6).tolist()
    (torch.Size([5, 5]), [1.0, 1.0, 1.0])
    """

    curve: Tensor
    horizontal: Tensor
    vertical: Tensor
    map: Tensor

    __repr__ = short_repr


@dataclass(frozen=True, eq=False)
class PatchAutocovariance:
    r"""Covariance of patches at positions that are shifted by up to m pixels.

    .. math:: M_\delta = E[(p(i)-\mu)\,(p(i+\delta)-\mu)^\top]

    The autocorrelation of the responses of filters :math:`w_k` is
    :math:`C(\delta) \propto \sum_k w_k^\top M_\delta w_k`, so that one pass over the images is
    enough for any number of filter banks.

    Parameters
    ----------
    values : (2m + 1, 2m + 1, d, d) float64 on the CPU, in units of pixel values squared; shift zero
        in the middle
    patch : (c, kh, kw) with d = c * kh * kw

    Examples
    --------
    >>> images = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    >>> covariance = patch_autocovariance(images, (3, 3), max_shift=2)
    >>> covariance.autocorrelation(torch.rand(8, 1, 3, 3)).curve.shape
    torch.Size([3])
    """

    values: Tensor
    patch: tuple[int, int, int]

    __repr__ = short_repr

    @takes_arrays
    @own_settings()
    def autocorrelation(self, filters: Tensor) -> Autocorrelation:
        """Return the autocorrelation of the responses of filters to the images.

        Parameters
        ----------
        filters : (k, c, kh, kw), or (k, d) flattened channel-first

        Raises
        ------
        ShapeError
            For filters of another shape than the patches.
        DataError
            For responses without variance.
        """
        flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
        if flat.shape[1] != self.values.shape[-1]:
            raise ShapeError(
                f"filters see {flat.shape[1]} inputs but the patches {self.patch} have "
                f"{self.values.shape[-1]}; compute the autocovariance with the patch of the filters"
            )
        return _normalized(self.values.flatten(2) @ (flat.T @ flat).flatten())


def _normalized(lags: Tensor) -> Autocorrelation:
    m = len(lags) // 2
    _check_variance(float(lags[m, m]), 0.0)
    lags = lags / lags[m, m]
    rows, columns = lags[m, m:], lags[m:, m]
    return Autocorrelation((rows + columns) / 2, rows, columns, lags)


@takes_arrays
@own_settings()
def patch_autocovariance(
    images: Tensor, patch: tuple[int, int], *, max_shift: int = 15
) -> PatchAutocovariance:
    r"""Return the covariance of all pairs of patches up to ``max_shift`` pixels apart.

    .. math:: M_\delta = E[(p(i)-\mu)\,(p(i+\delta)-\mu)^\top]

    :math:`\mu` is the mean patch of all images, so that the response of a filter has mean zero
    over all images, but not within each. The mean is over all pairs of patches inside an image,
    which are fewer at larger shifts. Nothing is padded.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 5 and Figure 6; arXiv:2206.02454.

    Source: Wiener (1930), "Generalized harmonic analysis", for computing it by Fourier transforms;
    doi:10.1007/BF02546511.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw) in pixels; (1, 1) for the autocorrelation of the images themselves
    max_shift : m, in pixels along each axis

    Returns
    -------
    PatchAutocovariance

    Raises
    ------
    ShapeError
        For images that are not (n, c, h, w), or smaller than the patch.
    UsageError
        For shifts at which no pair of patches is left, and for large patches of large images that
        take too much memory.
    DataError
        For no images, images without variance, NaN or infinite values.
    RepsimError
        Where all available matrix products give wrong results on this machine.

    Examples
    --------
    >>> images = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    >>> patch_autocovariance(images, (3, 3), max_shift=2).values.shape
    torch.Size([5, 5, 9, 9])
    """
    check_batch(images, patch)
    if len(images) == 0:
        raise no_images()
    height, width = (s - k + 1 for s, k in zip(images.shape[2:], patch, strict=True))
    _check_shift(max_shift, height, width)
    small = images.shape[1:].numel() <= MAX_IMAGE_NUMBERS
    if images.is_floating_point() and not images.double().square().sum().isfinite():
        raise DataError(
            "images hold NaN or infinite values, or such whose squares are, expected finite ones"
        )
    sums = (lag_sums if small else _lag_sums_by_spectra)(images, patch, max_shift)
    variance = float(sums[max_shift, max_shift].trace()) / (height * width * len(images))
    mean_square = average_patches(images[:64], patch).mean(0).square().sum()  # roughly
    _check_variance(variance, float(mean_square))
    pairs = pair_counts(height, width, max_shift) * len(images)
    return PatchAutocovariance(sums / pairs[..., None, None], (images.shape[1], *patch))


def _lag_sums_by_spectra(images: Tensor, patch: tuple[int, int], max_shift: int) -> Tensor:
    """Return the same as :func:`lag_sums`, from the cross-spectra of the patches of each image."""
    height, width = (s - k + 1 for s, k in zip(images.shape[2:], patch, strict=True))
    size = (height + max_shift, width + max_shift)  # padded, so that no shift wraps around
    mean = average_patches(images, patch).mean(0)
    d = len(mean)
    unit = pixel_unit(images)
    frequencies = size[0] * (size[1] // 2 + 1)
    _check_memory(2 * 16 * d * d * frequencies, images, patch)
    spectra = torch.zeros(frequencies, d, d, dtype=torch.complex128, device=images.device)
    for chunk in images.split(max(1, CHUNK_BYTES // (16 * d * frequencies))):
        patches = F.unfold(chunk.double() * unit, patch) - mean[:, None]
        maps = torch.fft.rfft2(patches.view(-1, d, height, width), s=size)
        at = maps.flatten(2).permute(2, 1, 0)  # (frequency, d, image)
        spectra += at.conj() @ at.transpose(1, 2)
    sums = torch.fft.irfft2(spectra.cpu().view(size[0], -1, d, d), s=size, dim=(0, 1))
    return _shifted(sums, max_shift)


def _check_memory(needed: int, images: Tensor, patch: tuple[int, int]) -> None:
    if needed > MAX_SPECTRA_BYTES:
        size, window = ("x".join(map(str, lengths)) for lengths in (images.shape[2:], patch))
        raise UsageError(
            f"pairs of all {window} patches of {size} images take {needed / 1e9:.0f} GB, expected "
            f"at most {MAX_SPECTRA_BYTES / 1e9:.0f} GB; give the responses of the filters to "
            "autocorrelation()"
        )


def _check_variance(variance: float, mean_square: float) -> None:
    """Refuse a variance that is rounding of the mean, or not finite."""
    if not math.inf > variance > 1e-12 * mean_square:
        raise DataError(
            "responses have no variance or are not finite, their autocorrelation is undefined; "
            "expected images that differ and filters that are not all zero"
        )


def _check_shift(max_shift: int, height: int, width: int) -> None:
    if not 0 <= max_shift < min(height, width):
        raise UsageError(
            f"max_shift is {max_shift} but there are {height}x{width} responses, "
            f"expected 0 to {min(height, width) - 1}"
        )


def _shifted(sums: Tensor, max_shift: int) -> Tensor:
    """Return the entries of cyclic sums at shifts from -m to m, shift zero in the middle."""
    shifts = torch.arange(-max_shift, max_shift + 1)
    return sums[shifts][:, shifts]


@takes_arrays
@own_settings()
def autocorrelation(maps: Tensor, *, max_shift: int = 15) -> Autocorrelation:
    r"""Return the spatial autocorrelation of images or of the activations of a layer.

    .. math:: C(\delta) = E_{x,i}[y(i)^\top y(i+\delta)] \,/\, E_{x,i}[y(i)^\top y(i)]

    y(i) are the c channels at position i of image x, minus their mean over all images and
    positions. The means are over pairs of positions inside the image; nothing is padded.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 5 and Figure 6; arXiv:2206.02454.

    Source: Wiener (1930), "Generalized harmonic analysis", for computing it by Fourier transforms;
    doi:10.1007/BF02546511.

    Parameters
    ----------
    maps : (n, c, h, w) images or activations, uint8 (read as 0..1) or float
    max_shift : m, in pixels along each axis

    Returns
    -------
    Autocorrelation

    Raises
    ------
    ShapeError
        For maps that are not (n, c, h, w).
    UsageError
        For shifts at which no pair of positions is left.
    DataError
        For no maps, maps without variance, NaN or infinite values.

    Examples
    --------
    >>> stripes = torch.tensor([1.0, 0.0]).repeat(4).expand(1, 1, 8, 8)
    >>> autocorrelation(stripes, max_shift=2).horizontal.round(decimals=6).tolist()
    [1.0, -1.0, 1.0]
    """
    check_batch(maps, (1, 1))
    if len(maps) == 0:
        raise no_images()
    height, width = maps.shape[2:]
    _check_shift(max_shift, height, width)
    size = (height + max_shift, width + max_shift)
    mean = average_patches(maps, (1, 1)).mean(0)
    unit = pixel_unit(maps)
    power = mean.new_zeros(size[0], size[1] // 2 + 1)
    for chunk in maps.split(max(1, CHUNK_BYTES // (16 * len(mean) * power.numel()))):
        centered = chunk.double() * unit - mean[:, None, None]
        power += torch.fft.rfft2(centered, s=size).abs().square().sum((0, 1))
    lags = _shifted(torch.fft.irfft2(power.cpu(), s=size), max_shift) / len(maps)
    lags = lags / pair_counts(height, width, max_shift)
    _check_variance(float(lags[max_shift, max_shift]), float(mean.square().sum()))
    return _normalized(lags)
