"""Sums over all patches, from matrix products of image rows.

Two pixels of a patch are dy rows and dx columns apart. Their product, summed over images, is an
entry of the matrix product of the images' rows with the rows dy below. Its sum over all positions
of the patch is a window sum of such entries. A few matrix products, of which only a band along the
diagonal is needed, and cumulative sums over rows and columns thus give the same as unfolding all
patches, with a small part of the arithmetic and of the memory.

The sums of bytes are exact, for any number of threads and any split into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from repsim_energy.numerics.checked_products import MAX_TERMS, row_products, wide_type
from repsim_energy.numerics.patches.chunks import chunk_sums
from repsim_energy.numerics.patches.layout import row_groups
from repsim_energy.progress import working

__all__ = ["cumulative", "patch_sums"]

TILE_COLUMNS = 32
"""Columns that are multiplied at once, in images of more than 1.5 times that width."""

CHUNK_BYTES = 8 * 2**20
"""Maximum size of a copy of a part of the images."""


Summed = Callable[[int], None]
"""Called with the number of images that have been summed since the last call."""


def patch_sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor, set[str]]:
    """Return the sum and the second moment of all overlapping patches of a batch.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float, n > 0, at least as large as the patch
    patch : (kh, kw)

    Returns
    -------
    sum : (d,) with d = c * kh * kw, channel-first; int64 for uint8, else float64
    second_moment : (d, d) of the same type. Floats are multiplied in their own precision, half
        precision in float32
    products : the number types that were multiplied; see
        :func:`~repsim_energy.numerics.checked_products.row_products`
    """
    (kh, kw), (count, channels, height, width) = patch, images.shape
    offset = _offset(images)
    with working(f"summing {kh}x{kw} patches", count, "images") as advance:
        found = chunk_sums(images, offset, patch, advance)
    columns, bands, ways = _tile_sums(images, offset, patch) if found is None else found
    total = _over_windows(columns, kw).permute(2, 1, 0).flatten()
    second = _window_products(bands, patch)
    places = count * (height - kh + 1) * (width - kw + 1)
    shift = offset.to(total.dtype)[:, None].expand(channels, kh * kw).flatten()
    cross = torch.outer(total, shift)
    second = second + cross + cross.T + places * torch.outer(shift, shift)
    return total + places * shift, second, ways


def _tile_sums(
    images: Tensor, offset: Tensor, patch: tuple[int, int]
) -> tuple[Tensor, Tensor, set[str]]:
    """Return what :func:`chunk_sums` returns, on any device and with any usable products."""
    (kh, kw), (count, _, _, width) = patch, images.shape
    step = width if width <= 1.5 * TILE_COLUMNS else TILE_COLUMNS
    starts = range(0, width, step)
    with working(f"summing {kh}x{kw} patches", count, "images") as advance:

        def summed(images: int) -> None:  # in one tile of each
            advance(images / len(starts))

        tiles = [_tile(images, offset, x, min(x + step, width), patch, summed) for x in starts]
    columns, bands = (torch.cat(parts) for parts in zip(*(tile[:2] for tile in tiles), strict=True))
    return columns, bands, {way for _, _, way in tiles}


def _offset(images: Tensor) -> Tensor:
    """Return the offset (c,) to subtract from each channel: 128 for bytes, else the mean.

    Bytes then fit into int8, and a large mean costs floats no precision. The mean of a few images
    is close enough.
    """
    if images.dtype == torch.uint8:
        return torch.full(images.shape[1:2], 128, device=images.device)
    return images[:8].double().mean((0, 2, 3)).to(_precision(images))


def _precision(images: Tensor) -> torch.dtype:
    """Return the precision of products of float images."""
    return torch.promote_types(images.dtype, torch.float32)


def _rows_first(images: Tensor, offset: Tensor) -> Tensor:
    """Return a copy (h, n, c, w) less the offset, with the same row of all images together."""
    order = (2, 0, 1, 3)
    contiguous = torch.contiguous_format
    if images.is_floating_point():
        rows = images.to(_precision(images)).permute(order).clone(memory_format=contiguous)
        return rows.sub_(offset[:, None])
    aligned = images.storage_offset() % 8 == images.data_ptr() % 8 == images.shape[3] % 8 == 0
    if images.is_contiguous() and aligned:  # eight bytes at once
        words = images.flatten().view(torch.int64).view(*images.shape[:3], -1)
        words = words.permute(order).clone(memory_format=contiguous)
        return words.view(torch.uint8).bitwise_xor_(128).view(torch.int8)
    rows = images.permute(order).clone(memory_format=contiguous)
    return rows.bitwise_xor_(128).view(torch.int8)


def _tile(
    images: Tensor, offset: Tensor, x: int, end: int, patch: tuple[int, int], summed: Summed
) -> tuple[Tensor, Tensor, str]:
    """Return sums of the columns x to end, and of their products with pixels at most a patch away.

    Returns
    -------
    columns : (x, a, c) sums over images and over all rows that row a of a patch can take
    bands : (x, dx, a, dy, c, c') of products of pixels (c, x) and (c', x + dx) dy rows below,
        summed likewise; dx runs from -(kw - 1) to kw - 1. Entries with x + dx or rows below outside
        of the image have no meaning and are not used.
    products : the number type that was multiplied
    """
    channels, width = images.shape[1], images.shape[3]
    kh, halo = patch[0], patch[1] - 1
    low, high = max(x - halo, 0), min(end + halo, width)
    sums, products, way = _row_products(
        images[..., low:high], offset, slice(x - low, end - low), kh, summed
    )
    columns = torch.arange(x, end)
    across = (columns[:, None] + torch.arange(-halo, halo + 1)).clamp(low, high - 1) - low
    bands = _over_windows(products, kh).view(kh, kh, channels, end - x, channels, high - low)
    totals = _over_windows(sums.view(-1, channels, end - x), kh)
    return totals.movedim(2, 0), bands[:, :, :, (columns - x)[:, None], :, across], way


def _row_products(
    images: Tensor, offset: Tensor, inner: slice, kh: int, summed: Summed
) -> tuple[Tensor, Tensor, str]:
    """Return sums of the inner columns, their products with all columns, and the number type.

    Returns
    -------
    sums : (g, m) of each group of rows g, m counting the inner (c, x)
    products : (g, dy, m, n) with the rows dy below, n counting all (c, x)
    way : the number type that was multiplied
    """
    channels, height, width = images.shape[1:]
    groups = row_groups(height, kh)
    max_rows = max(last - first for first, last in groups)
    image_bytes = channels * height * width * images.element_size()
    chunk = max(1, min(CHUNK_BYTES // image_bytes, MAX_TERMS // max_rows))

    def parts() -> Iterator[Tensor]:
        for part in images.split(chunk):
            yield _rows_first(part, offset)
            summed(len(part))

    return row_products(parts, inner, groups, kh)


def _window_products(bands: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the (d, d) sums over all places of a patch."""
    kh, kw = patch
    channels = bands.shape[-1]
    windows = _over_windows(bands, kw)  # (a_x, dx, a_y, dy, c, c')
    a_y, a_x, b_y, b_x = torch.meshgrid(*map(torch.arange, (kh, kw, kh, kw)), indexing="ij")
    dy = b_y - a_y
    pairs = windows[a_x, b_x - a_x + kw - 1, a_y, dy.clamp_min(0)]  # (a_y, a_x, b_y, b_x, c, c')
    size = channels * kh * kw
    pairs = pairs.permute(4, 0, 1, 5, 2, 3).reshape(size, size)
    known = (dy >= 0).flatten(0, 1).flatten(1).repeat(channels, channels).to(pairs.device)
    return torch.where(known, pairs, pairs.T)


def _over_windows(values: Tensor, k: int) -> Tensor:
    """Return the (k, ...) sums of (m, ...) over entries a to m - k + a, for a = 0 to k - 1."""
    edge = k - 1
    before = cumulative(values[:edge])
    after = cumulative(values[len(values) - edge :].flip(0)).flip(0)
    return values.sum(0, dtype=wide_type(values)) - before - after


def cumulative(values: Tensor) -> Tensor:
    """Return the sums of the first 0, 1, ... entries along the first axis, int64 or float64."""
    sums = values.cumsum(0, dtype=wide_type(values))
    return torch.cat([sums.new_zeros(1, *values.shape[1:]), sums])
