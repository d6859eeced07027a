"""Places of pixels in the copied rows of images, and the tiles and passes of their products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["Layout", "Pass", "Tile", "passes_of", "row_groups", "tiles_of"]

TILE_STEP = 4
"""Columns that tiles are cut at. Copies move so many at once where they can."""

MAX_TILE = 64
"""Columns of the widest tile."""

MIN_ROWS = 8
"""Rows of the smallest product. Those of a single row are wrong in torch 2.10 to 2.14.1."""

KERNEL_COLUMNS = {"int8": 48, "float32": 16}
"""Columns that the kernels compute at once; fewer take as long."""

CHUNK_BYTES = 2 * 2**20
"""Size of the copy of a part of the images, which has to stay in the cache of a processor."""

MAX_FLOAT_TERMS = 8192
"""Products of floats that are added in float32."""


@dataclass(frozen=True)
class Layout:
    """Order of the pixels of a row.

    Words of some columns follow each other, in each word the channels, in each channel the columns.
    Any run of words is thus a run of memory with all channels.

    Parameters
    ----------
    channels, width : of the images
    word : columns of a word; 1 is the order of images with the channels last
    """

    channels: int
    width: int
    word: int

    @property
    def pitch(self) -> int:
        """The number of values of a row: whole words, and no fewer than a product needs."""
        return max(MIN_ROWS, -(-self.width // self.word) * self.word * self.channels)

    def places(self) -> Tensor:
        """Return the place (c, w) of each pixel in its row."""
        columns, channels = torch.arange(self.width), torch.arange(self.channels)[:, None]
        word, within = columns // self.word, columns % self.word
        return (word * self.channels + channels) * self.word + within


@dataclass(frozen=True)
class Tile:
    """A product of the columns ``x`` to ``end`` with all that are at most a patch away.

    Parameters
    ----------
    x, end : columns of the images
    left, m : the first place of these columns in a row, and the number of places
    right, n : the same for the columns that they are multiplied with
    """

    x: int
    end: int
    left: int
    m: int
    right: int
    n: int


@cache
def tiles_of(layout: Layout, kw: int, way: str) -> tuple[Tile, ...]:
    """Return the tiles of all columns whose products are estimated to take the least time.

    Parameters
    ----------
    kw : columns of the patch
    way : ``int8`` or ``float32``
    """
    stops = [*range(0, layout.width, TILE_STEP), layout.width]
    best: dict[int, tuple[float, tuple[Tile, ...]]] = {0: (0.0, ())}
    for i, x in enumerate(stops[:-1]):
        for end in stops[i + 1 : i + 1 + MAX_TILE // TILE_STEP]:
            tile = _tile(layout, x, end, kw - 1, KERNEL_COLUMNS[way])
            cost = best[x][0] + _nanoseconds(tile, way)
            if cost < best.get(end, (math.inf,))[0]:
                best[end] = (cost, (*best[x][1], tile))
    return best[layout.width][1]


def _tile(layout: Layout, x: int, end: int, halo: int, unit: int) -> Tile:
    """Return a tile whose products are as large as the kernel computes anyway."""
    word, size = layout.word, layout.word * layout.channels
    left, stop = x // word * size, -(-end // word) * size
    m = max(stop - left, MIN_ROWS)
    right = max(x - halo, 0) // word * size
    stop = -(-min(end + halo, layout.width) // word) * size
    n = min(-(-(stop - right) // unit) * unit, layout.pitch)
    return Tile(x, end, min(left, layout.pitch - m), m, min(right, layout.pitch - n), n)


def _nanoseconds(tile: Tile, way: str) -> float:
    """Return the estimated time of a product for each row that is added up.

    Fitted to products on one core of a Zen 4 with torch 2.14. The kernel of int8 computes 8 x 48
    numbers at once, that of float32 16 columns. Other machines may prefer other tiles, but none
    gives other sums of bytes.
    """
    unit = KERNEL_COLUMNS[way]
    n = -(-tile.n // unit) * unit
    if way == "int8":
        m = -(-tile.m // 8) * 8
        return 0.0043 * m * n + 0.08 * tile.m + 0.026 * tile.n + 1
    return 0.028 * tile.m * n + 0.1 * (tile.m + tile.n) + 1


def row_groups(height: int, kh: int) -> list[tuple[int, int]]:
    """Return the first row of each group of rows that are summed together, and the row after it.

    Row a of a patch takes rows a to height - kh + a of the image. The rows in the middle, which
    all rows of a patch take, form one group; at both ends each row is a group.
    """
    last_start, first_end = kh - 1, height - kh + 1
    edges = [*range(last_start + 1), *range(first_end, height + 1)]
    if first_end <= last_start:
        edges = list(range(height + 1))
    return list(zip(edges, edges[1:], strict=False))


@dataclass(frozen=True)
class Pass:
    """Rows of the images that are copied together.

    Parameters
    ----------
    top, bottom : the first row, and the one after the last
    groups : of rows that are summed together
    images : the number that are copied at once
    """

    top: int
    bottom: int
    groups: tuple[tuple[int, int], ...]
    images: int


def passes_of(
    size: tuple[int, int, int], row_bytes: int, sum_bytes: int, max_terms: int
) -> list[Pass]:
    """Return passes over the images, the one with most chunks last.

    The few rows at both ends of large images are multiplied row by row. They have passes of their
    own, whose chunks hold far more images, so that their products have enough terms.

    Parameters
    ----------
    size : the number of images, their rows, and those of the patch
    row_bytes : of a row in the copy
    sum_bytes : of the products of a group
    max_terms : of a product
    """
    count, height, kh = size
    groups, halo = tuple(row_groups(height, kh)), kh - 1
    split = [(0, height, groups)]
    if 2 * halo < height - halo and halo and height * row_bytes > CHUNK_BYTES // 256:
        split = [
            (0, 2 * halo, groups[:halo]),
            (height - halo, height, groups[halo + 1 :]),
            (halo, height, groups[halo : halo + 1]),
        ]
    passes = []
    for top, bottom, part in split:
        room = max(CHUNK_BYTES, len(part) * sum_bytes)
        most = min(room // ((bottom - top) * row_bytes), max_terms // max(b - a for a, b in part))
        chunks = -(-count // max(1, most))
        if chunks > 1:
            chunks += chunks % 2  # two threads then end together
        passes.append(Pass(top, bottom, part, -(-count // chunks)))
    return passes
