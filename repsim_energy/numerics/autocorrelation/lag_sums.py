"""Sums over pairs of shifted patches, from the products of all pairs of pixels.

For small images, all pairs of pixels are multiplied once. The sum over all pairs of patches with
one shift is a sum along diagonals of that matrix, over rows and then over columns. One matrix
product thus gives the sums for all shifts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.numerics.checked_products import MAX_TERMS, row_products
from repsim_energy.numerics.patches.batches import pixel_unit
from repsim_energy.numerics.patches.sums import cumulative

__all__ = ["lag_sums", "pair_counts"]

CHUNK_BYTES = 64 * 2**20
"""Maximum size of a copy of a part of the images."""


def lag_sums(images: Tensor, patch: tuple[int, int], max_shift: int) -> Tensor:
    r"""Return the sums over positions i of :math:`(p(i) - \mu)(p(i+\delta) - \mu)^\top`.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw)
    max_shift : m, in pixels

    Returns
    -------
    (2m + 1, 2m + 1, d, d) float64 with d = c * kh * kw, shift zero in the middle; on the CPU
    """
    channels, height, width = images.shape[1:]
    total, products = (sums.cpu() for sums in _pixel_sums(images))
    size = (channels, height, width)
    rows = _sum_over_positions(
        products.view(size * 2).permute(1, 4, 0, 2, 3, 5), patch[0], 0, max_shift
    )
    both = _sum_over_positions(rows.permute(4, 6, 0, 1, 2, 3, 5), patch[1], -max_shift, max_shift)
    half = both.permute(3, 0, 6, 4, 1, 7, 5, 2).flatten(5).flatten(2, 4).double()
    first = _first_sums(total.view(size), patch, max_shift)  # of p(i); those of p(i + δ) are at -δ
    count = pair_counts(height - patch[0] + 1, width - patch[1] + 1, max_shift) * len(images)
    mean = first[max_shift, max_shift] / count[max_shift, max_shift]
    cross = first[max_shift:, :, :, None] * mean
    cross = cross + first.flip(0, 1)[max_shift:, :, None, :] * mean[:, None]
    half = half - cross + count[max_shift:, :, None, None] * torch.outer(mean, mean)
    return torch.cat([half[1:].flip(0, 1).transpose(2, 3), half]).mul_(pixel_unit(images) ** 2)


def pair_counts(height: int, width: int, max_shift: int) -> Tensor:
    """Return (2m + 1, 2m + 1): how many pairs of height x width positions each shift leaves."""
    distance = torch.arange(-max_shift, max_shift + 1).abs()
    return torch.outer(height - distance, width - distance)


def _pixel_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum (p,) and the second moment (p, p) of the pixels minus an offset.

    The offset is 128 for uint8, which gives int64 sums, and else the mean of each channel, which
    gives float64 sums.
    """
    pixels, size, offset = images.shape[1:].numel(), 1, None
    if images.is_floating_point():
        size, offset = 8, images.mean((0, 2, 3), True, dtype=torch.float64)

    def row(part: Tensor) -> Tensor:
        """Return the images as rows of pixels: (1, n, 1, p)."""
        if offset is None:
            values = part.flatten(1).bitwise_xor(128).view(torch.int8)
        else:
            values = (part.double() - offset).flatten(1)
        return values[None, :, None]

    chunk = max(1, min(MAX_TERMS, CHUNK_BYTES // (size * pixels)))
    total, second, _ = row_products(lambda: map(row, images.split(chunk)), slice(None), [(0, 1)], 1)
    return total[0], second[0, 0]


def _sum_over_positions(pairs: Tensor, k: int, lowest: int, highest: int) -> Tensor:
    """Sum products of two pixels along an axis, over all positions of two shifted patches.

    Parameters
    ----------
    pairs : (l, l, ...) of pixels at y and y'
    k : the size of the patches
    lowest, highest : the first and the last shift

    Returns
    -------
    (s, k, k, ...) for each shift, pixel of one patch and pixel of the other
    """
    shift = torch.arange(lowest, highest + 1)[:, None, None]
    pixel = torch.arange(k)
    offsets = shift + pixel - pixel[:, None]
    start, stop = _range(shift, pixel[:, None], len(pairs) - k + 1)
    start, stop = (edge.expand(offsets.shape) + offsets.clamp(max=0) for edge in (start, stop))
    sums = pairs.new_empty(*offsets.shape, *pairs.shape[2:])
    for offset in range(int(offsets.min()), int(offsets.max()) + 1):
        before = cumulative(pairs.diagonal(offset).movedim(-1, 0))
        here = offsets == offset
        sums[here] = before[stop[here]] - before[start[here]]
    return sums


def _first_sums(total: Tensor, patch: tuple[int, int], max_shift: int) -> Tensor:
    """Return the (2m + 1, 2m + 1, d) sums of p(i) over positions i with i + shift in the image."""
    shift = torch.arange(-max_shift, max_shift + 1)[:, None]
    for k in patch:  # rows, then columns; each adds the axes (shift, pixel) at the end
        start, stop = _range(shift, torch.arange(k), total.shape[1] - k + 1)
        before = cumulative(total.movedim(1, 0))
        total = (before[stop] - before[start]).movedim((0, 1), (-2, -1))
    return total.permute(1, 3, 0, 2, 4).flatten(2).double()


def _range(shift: Tensor, pixel: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """Return the first position of a pixel, and the one after the last, for pairs in the image."""
    start = (-shift).clamp(min=0) + pixel
    return start, start + places - shift.abs()
