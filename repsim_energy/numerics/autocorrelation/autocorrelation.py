"""How alike the responses of a filter bank are at two places of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.autocorrelation.lag_sums import lag_sums, pair_counts
from repsim_energy.numerics.patches.moments import check_batch, no_images, pixel_unit
from repsim_energy.numerics.patches.per_image import average_patches
from repsim_energy.numerics.settings import own_settings

__all__ = ["Autocorrelation", "PatchAutocovariance", "autocorrelation", "patch_autocovariance"]

CHUNK_BYTES = 64 * 2**20
"""The most memory that the spectra of a chunk of images take."""

MOST_PIXELS = 4096
"""Numbers an image holds of which all pairs are multiplied; their products take 200 MB."""


MOST_BYTES = 4 * 10**9
"""Memory that the spectra of all pairs of pixels of a patch may take."""


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    r"""The autocorrelation of vector-valued maps, 1 at shift zero.

    Parameters
    ----------
    curve : (m + 1,) :math:`C(\delta)`, the mean of the shifts along rows and along columns
    horizontal, vertical : (m + 1,) the two by themselves: horizontal and vertical shifts
    map : (2m + 1, 2m + 1) :math:`C(\delta_y, \delta_x)`, shift zero in the middle
    """

    curve: Tensor
    horizontal: Tensor
    vertical: Tensor
    map: Tensor


@dataclass(frozen=True, eq=False)
class PatchAutocovariance:
    r"""The moments of patches at a distance, :math:`M_\delta = E[(p(i)-\mu)\,p(i+\delta)^\top]`.

    The autocorrelation of any filter bank on the same images is linear in them,
    :math:`C(\delta) \propto \sum_k w_k^\top M_\delta w_k`, so that one pass over the images serves
    every bank.

    Parameters
    ----------
    values : (2m + 1, 2m + 1, d, d) float64 on the CPU, shift zero in the middle
    patch : (c, kh, kw) with d = c * kh * kw
    """

    values: Tensor
    patch: tuple[int, int, int]

    @takes_arrays
    @own_settings()
    def autocorrelation(self, filters: Tensor) -> Autocorrelation:
        """Return the autocorrelation of the (k, c, kh, kw) or (k, d) filters' responses."""
        flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
        if flat.shape[1] != self.values.shape[-1]:
            raise ShapeError(
                f"filters see {flat.shape[1]} inputs but the moments are of patches {self.patch}; "
                "take the moments with the patch of the filters"
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
    r"""Return the moments of all pairs of patches up to ``max_shift`` apart along each axis.

    Centering: the mean patch of the whole set is subtracted, so that every filter's response has
    mean zero over places and images (not within each image). Normalization: the sum over pairs is
    divided by their number, which is smaller at larger shifts; no map is padded.

    Source: Chowers & Weiss (2023), section 5 and Figure 6; the Wiener-Khinchin theorem.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw); (1, 1) for the autocorrelation of the images themselves
    max_shift : m, in pixels

    Raises
    ------
    ShapeError
        For images smaller than the patch.
    UsageError
        For shifts at which no pair of patches is left, and for moments that take too much memory:
        large patches of large images.
    DataError
        For no images, images without variance, or with NaN.
    """
    check_batch(images, patch)
    if len(images) == 0:
        raise no_images()
    height, width = (s - k + 1 for s, k in zip(images.shape[2:], patch, strict=True))
    _check_shift(max_shift, height, width)
    small = images.shape[1:].numel() <= MOST_PIXELS
    sums = (lag_sums if small else _lag_sums_by_spectra)(images, patch, max_shift)
    variance = float(sums[max_shift, max_shift].trace()) / (height * width * len(images))
    size_of_mean = average_patches(images[:64], patch).mean(0).square().sum()  # a few tell it
    _check_variance(variance, float(size_of_mean))
    pairs = pair_counts(height, width, max_shift) * len(images)
    return PatchAutocovariance(sums / pairs[..., None, None], (images.shape[1], *patch))


def _lag_sums_by_spectra(images: Tensor, patch: tuple[int, int], max_shift: int) -> Tensor:
    """Return what :func:`lag_sums` does, from the cross-spectra of each image's patches."""
    height, width = (s - k + 1 for s, k in zip(images.shape[2:], patch, strict=True))
    size = (height + max_shift, width + max_shift)  # room for no shift to wrap around
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
    if needed > MOST_BYTES:
        size, window = ("x".join(map(str, lengths)) for lengths in (images.shape[2:], patch))
        raise UsageError(
            f"pairs of all {window} patches of {size} images take {needed / 1e9:.0f} GB, expected "
            f"at most {MOST_BYTES / 1e9:.0f} GB; give the responses of the filters to "
            "autocorrelation()"
        )


def _check_variance(variance: float, mean_square: float) -> None:
    """Refuse what has no variance beyond the rounding of its mean, or is not finite."""
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
    """Return what belongs to the shifts -m to m of cyclic sums, shift zero in the middle."""
    shifts = torch.arange(-max_shift, max_shift + 1)
    return sums[shifts][:, shifts]


@takes_arrays
@own_settings()
def autocorrelation(maps: Tensor, *, max_shift: int = 15) -> Autocorrelation:
    r"""Return the spatial autocorrelation of images, or of a layer's maps, as vectors.

    .. math:: C(\delta) = E_{x,i}[y(i)^\top y(i+\delta)] \,/\, E_{x,i}[y(i)^\top y(i)]

    with each channel's mean over places and images subtracted from y; see
    :func:`patch_autocovariance`.

    Source: Chowers & Weiss (2023), section 5 and Figure 6.

    Parameters
    ----------
    maps : (n, c, h, w) uint8 or float
    max_shift : the largest shift along an axis, in pixels

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
