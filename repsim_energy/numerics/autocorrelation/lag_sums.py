"""Sums over pairs of patches at a distance, from the products of all pairs of pixels.

For small images all pixels can be multiplied with all others once. What a pair of patches at any
distance adds up to, over places and images, is a sum along a diagonal of that matrix, first over
rows and then over columns: every distance comes from one product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.numerics.checked_products import MAX_TERMS, row_products
from repsim_energy.numerics.patches.moments import pixel_unit
from repsim_energy.numerics.patches.sums import cumulative

__all__ = ["lag_sums", "pair_counts"]

CHUNK_BYTES = 64 * 2**20
"""The most memory that a copy of a part of the images takes."""


def lag_sums(images: Tensor, patch: tuple[int, int], max_shift: int) -> Tensor:
    r"""Return the sums over places i of :math:`(p(i) - \mu)(p(i+\delta) - \mu)^\top`.

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
    rows = _over_places(products.view(size * 2).permute(1, 4, 0, 2, 3, 5), patch[0], 0, max_shift)
    both = _over_places(rows.permute(4, 6, 0, 1, 2, 3, 5), patch[1], -max_shift, max_shift)
    half = both.permute(3, 0, 6, 4, 1, 7, 5, 2).flatten(5).flatten(2, 4).double()
    first = _first_sums(total.view(size), patch, max_shift)  # of p(i); those of p(i + δ) are at -δ
    count = pair_counts(height - patch[0] + 1, width - patch[1] + 1, max_shift) * len(images)
    mean = first[max_shift, max_shift] / count[max_shift, max_shift]
    cross = first[max_shift:, :, :, None] * mean
    cross = cross + first.flip(0, 1)[max_shift:, :, None, :] * mean[:, None]
    half = half - cross + count[max_shift:, :, None, None] * torch.outer(mean, mean)
    return torch.cat([half[1:].flip(0, 1).transpose(2, 3), half]).mul_(pixel_unit(images) ** 2)


def pair_counts(height: int, width: int, max_shift: int) -> Tensor:
    """Return the (2m + 1, 2m + 1) numbers of pairs of height x width places at each shift."""
    distance = torch.arange(-max_shift, max_shift + 1).abs()
    return torch.outer(height - distance, width - distance)


def _pixel_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (p,) sum and the (p, p) second moment of the pixels less a constant.

    int64 for uint8, whose constant is 128; else float64, less each channel's mean.
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


def _over_places(pairs: Tensor, k: int, lowest: int, highest: int) -> Tensor:
    """Sum products of two pixels along an axis over all places of two patches at a distance.

    Parameters
    ----------
    pairs : (l, l, ...) of pixels at y and y'
    k : the size of the patches
    lowest, highest : the first and the last distance

    Returns
    -------
    (s, k, k, ...) for each distance, pixel of the one patch and pixel of the other
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
    """Return the (2m + 1, 2m + 1, d) sums of p(i) over the places i that have a partner."""
    shift = torch.arange(-max_shift, max_shift + 1)[:, None]
    for k in patch:  # rows, then columns: each moves behind as (shift, pixel)
        start, stop = _range(shift, torch.arange(k), total.shape[1] - k + 1)
        before = cumulative(total.movedim(1, 0))
        total = (before[stop] - before[start]).movedim((0, 1), (-2, -1))
    return total.permute(1, 3, 0, 2, 4).flatten(2).double()


def _range(shift: Tensor, pixel: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """Return where a patch's pixel starts and stops while its partner stays in the image."""
    start = (-shift).clamp(min=0) + pixel
    return start, start + places - shift.abs()
