"""Sums over all patches from products of image rows; no patch is ever written out.

Two pixels of a patch are dy rows and dx columns apart. Their product, summed over images, is an
entry of the matrix product of the images' rows with the rows dy below. Summed over the places that
a patch can take, it is a window sum of such entries. So a few matrix products, of which a band
along the diagonal is kept, and cumulative sums over rows and columns give what unfolding every
patch would, with a small part of the arithmetic and of the memory.

Bytes are multiplied as whole numbers. Their sums are exact, whatever the threads, the split into
batches and the machine.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

__all__ = ["patch_sums"]

TILE = 32
"""Columns that are multiplied at once, of images more than half as wide again."""

CHUNK_BYTES = 32 * 2**20
"""The most memory that a copy of a part of the images takes."""

EXACT_TERMS = 1024
"""So many products of int8 add up exactly in float32: 1024 * 2**14 = 2**24."""

MOST_TERMS = 2**17 - 1
"""So many products of int8 add up in int32."""


def patch_sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the sum and the second moment of all overlapping patches of a batch.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float, n > 0, at least as large as the patch
    patch : (kh, kw)

    Returns
    -------
    (d,) and (d, d) with d = c * kh * kw, channel-first: int64 for uint8, else float64. Products of
    floats are taken in their own precision, of half ones in float32.
    """
    parts = [_sums(part, patch) for part in images.split(_chunk(images, patch[0]))]
    return sum(p[0] for p in parts[1:]) + parts[0][0], sum(p[1] for p in parts[1:]) + parts[0][1]


def _chunk(images: Tensor, kh: int) -> int:
    """Return how many images fit into memory and, multiplied as one, into int32."""
    image_bytes = images[0].numel() * images.element_size()
    edges = _edges(images.shape[2], kh)
    most_rows = max(end - first for first, end in _pairs(edges))
    return max(1, min(CHUNK_BYTES // image_bytes, MOST_TERMS // most_rows))


def _sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor]:
    channels, height, width = images.shape[1:]
    count = len(images) * (height - patch[0] + 1) * (width - patch[1] + 1)
    rows, offset = _centred(_rows_first(images))
    total = _window_totals(rows, patch)
    second = _window_products(_bands(rows, patch), patch)
    offset = offset[:, None].expand(channels, patch[0] * patch[1]).flatten()
    cross = torch.outer(total, offset)
    second = second + cross + cross.T + count * torch.outer(offset, offset)
    return total + count * offset, second


def _rows_first(images: Tensor) -> Tensor:
    """Return a copy (h, n, c, w): the same row of all images together."""
    order = (2, 0, 1, 3)
    if images.is_floating_point():
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        return wide.permute(order).clone(memory_format=torch.contiguous_format)
    images = images.contiguous()
    if images.shape[3] % 8 == 0:  # eight bytes at once
        words = images.view(torch.int64).permute(order)
        return words.clone(memory_format=torch.contiguous_format).view(torch.uint8)
    return images.permute(order).clone(memory_format=torch.contiguous_format)


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows less an offset of each channel, in place, and the (c,) offsets.

    Bytes become int8, which loses nothing; floats lose no digits to a large mean, for which the
    mean of a few images is good enough.
    """
    channels = rows.shape[2]
    if rows.dtype == torch.uint8:
        offset = torch.full((channels,), 128, device=rows.device)
        return rows.bitwise_xor_(128).view(torch.int8), offset
    offset = rows[:, :8].mean((0, 1, 3))
    return rows.sub_(offset[:, None]), offset.double()


def _window_totals(rows: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the (d,) sums over all places of a patch."""
    height, count, channels, width = rows.shape
    edges = _edges(height, patch[0])
    ones = torch.ones(height * count, 1, dtype=rows.dtype, device=rows.device)
    size = (len(edges) - 1, 1, channels * width)
    sums = torch.zeros(size, dtype=_sum_type(rows), device=rows.device)
    for group, (first, end) in enumerate(_pairs(edges)):
        values = rows[first:end].flatten(0, 1).flatten(1)
        _multiply(ones[: len(values)], values, sums[group])
    below = _over_windows(sums.view(-1, channels, width), patch[0])
    return _over_windows(below.movedim(2, 0), patch[1]).permute(2, 1, 0).flatten()


def _edges(height: int, kh: int) -> list[int]:
    """Return where groups of rows begin and end.

    Windows begin at rows 0 to kh - 1 and end kh - 1 rows before the last to the last, so that all
    rows between can be multiplied as one.
    """
    last_start, first_end = kh - 1, height - kh + 1
    if first_end <= last_start:
        return list(range(height + 1))
    return [*range(last_start + 1), *range(first_end, height + 1)]


def _pairs(edges: list[int]) -> list[tuple[int, int]]:
    return list(zip(edges, edges[1:], strict=False))


def _bands(rows: Tensor, patch: tuple[int, int]) -> Tensor:
    """Return the products of pixels at most a patch apart, summed over images and rows.

    (x, dx, a, dy, c, c') is that of pixels (c, x) and (c', x + dx) dy rows below, summed over all
    rows that row a of a patch can take; dx runs from -(kw - 1) to kw - 1. Where x + dx or the rows
    below lie outside the image stands anything: no patch reaches there.
    """
    height, count, channels, width = rows.shape
    kh, halo = patch[0], patch[1] - 1
    edges = _edges(height, kh)
    step = width if width <= 1.5 * TILE else TILE
    bands = []
    for x in range(0, width, step):
        columns = torch.arange(x, min(x + step, width))
        low, high = max(x - halo, 0), min(x + len(columns) + halo, width)
        left = rows[..., x : x + len(columns)].contiguous().view(height, count, -1)
        right = rows[..., low:high].contiguous().view(height, count, -1)
        size = (len(edges) - 1, kh, left.shape[2], right.shape[2])
        products = torch.zeros(size, dtype=_sum_type(rows), device=rows.device)
        for group, (first, end) in enumerate(_pairs(edges)):
            for dy in range(min(kh, height - end + 1)):
                upper, lower = left[first:end], right[first + dy : end + dy]
                _multiply(upper.flatten(0, 1), lower.flatten(0, 1), products[group, dy])
        sums = _over_windows(products, kh).view(kh, kh, channels, len(columns), channels, -1)
        across = (columns[:, None] + torch.arange(-halo, halo + 1)).clamp(low, high - 1)
        bands.append(sums[:, :, :, (columns - x)[:, None], :, across - low])
    return torch.cat(bands)


def _sum_type(rows: Tensor) -> torch.dtype:
    return rows.dtype if rows.is_floating_point() else torch.int32


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write the (m, n) product of (k, m) and (k, n) columns; that of int8 is exact."""
    if left.is_floating_point():
        torch.mm(left.T, right, out=out)
    elif left.device.type == "cpu" and _int8_is_exact():
        torch._int_mm(left.T, right, out=out)
    else:
        whole = len(left) - len(left) % EXACT_TERMS
        parts = [t[:whole].float().unflatten(0, (-1, EXACT_TERMS)) for t in (left, right)]
        rest = left[whole:].float().T @ right[whole:].float()
        out.copy_(torch.bmm(parts[0].mT, parts[1]).sum(0, dtype=torch.float64).add_(rest))


@cache
def _int8_is_exact() -> bool:
    """Return whether this machine multiplies int8 without saturation; some older ones do not."""
    extremes = torch.tensor([-128, 127, -1, 1], dtype=torch.int8).repeat(256, 16)
    try:
        found = torch._int_mm(extremes.T, extremes)
    except (AttributeError, RuntimeError):
        return False
    return torch.equal(found.double(), extremes.double().T @ extremes.double())


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
    wide = torch.float64 if values.is_floating_point() else torch.int64
    edge = k - 1
    before = _cumulative(values[:edge], wide)
    after = _cumulative(values[len(values) - edge :].flip(0), wide).flip(0)
    return values.sum(0, dtype=wide) - before - after


def _cumulative(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the sums of the first 0, 1, ... entries along the first axis."""
    sums = values.cumsum(0, dtype=dtype)
    return torch.cat([sums.new_zeros(1, *values.shape[1:]), sums])
