"""Sums over all patches on a processor: chunks of images in threads, products of narrow tiles.

Each thread copies a chunk of images such that the same row of all of them lies together, and in it
the channels of neighboring columns (:class:`~repsim_energy.numerics.patches.layout.Layout`). Tiles
of columns are then views of the copy, and so are all factors of products.

Row a of a patch takes rows a to h - kh + a of an image. What is added up is the sum over the rows
of a = 0, and the difference from each a to the next, in which every row occurs at most twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from repsim_energy.numerics.checked_products import MAX_TERMS, first_way, reject, wide_type
from repsim_energy.numerics.patches.copies import WORD, RowCopies, has_channels_last
from repsim_energy.numerics.patches.layout import MAX_FLOAT_TERMS, Layout, Pass, passes_of, tiles_of
from repsim_energy.numerics.projections import Measured, Multiply, Projections
from repsim_energy.numerics.threads import share_tasks

__all__ = ["chunk_sums"]

Summed = Callable[[float], None]
"""Called with the number of images that have been summed since the last call."""


def chunk_sums(
    images: Tensor, offset: Tensor, patch: tuple[int, int], summed: Summed
) -> tuple[Tensor, Tensor, set[str]] | None:
    """Return sums over rows of columns, and of their products with pixels at most a patch away.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float
    offset : (c,) to subtract; for floats in the precision of the products
    patch : (kh, kw)
    summed : called in this thread

    Returns
    -------
    columns : (x, a, c) sums over images and over all rows that row a of a patch can take
    bands : (x, dx, a, dy, c, c') of products of pixels (c, x) and (c', x + dx) dy rows below,
        summed likewise; dx runs from -(kw - 1) to kw - 1. Entries with x + dx or rows below outside
        of the image have no meaning and are not used.
    ways : the number type that was multiplied, ``int8`` or ``float32``

    ``None`` if these products are not the fastest on the device of the images, or are wrong.
    """
    kind = torch.int8 if images.dtype == torch.uint8 else offset.dtype
    sample = torch.empty(0, dtype=kind, device=images.device)
    way, multiply = first_way(sample)
    if images.device.type != "cpu" or way not in ("int8", "float32") or kind == torch.float64:
        return None
    if kind == torch.int8 and way != "int8":
        return None
    sums = _Sums(_Job(images, offset, patch, kind, multiply))
    reported = 0.0

    def report() -> None:
        nonlocal reported
        done = sums.done
        summed(done - reported)
        reported = done

    tasks, ordered = len(sums.job.tasks), sums.job.floats
    share_tasks(tasks, lambda: _Worker(sums), report, ordered=ordered)
    if sums.hold():
        return *sums.bands(), {way}
    if sums.check.fits_float32:
        reject(way, sample)
    return None


class _Job:
    """What all threads share: the images, and what to compute of them."""

    def __init__(
        self,
        images: Tensor,
        offset: Tensor,
        patch: tuple[int, int],
        kind: torch.dtype,
        multiply: Multiply,
    ) -> None:
        count, channels, self.height, width = images.shape
        self.images, self.offset, self.kind, self.multiply = images, offset, kind, multiply
        self.kh, self.kw = patch
        self.floats = kind.is_floating_point
        self.layout = Layout(channels, width, 1 if has_channels_last(images) else WORD)
        self.tiles = tiles_of(self.layout, self.kw, "float32" if self.floats else "int8")
        self.sizes = [tile.m * tile.n for tile in self.tiles]
        self.passes = passes_of(
            (count, self.height, self.kh),
            self.layout.pitch * kind.itemsize,
            4 * self.kh * sum(self.sizes),
            MAX_FLOAT_TERMS if self.floats else MAX_TERMS,
        )
        self.tasks = [(one, at) for one in self.passes for at in range(0, count, one.images)]

    @property
    def type_of_products(self) -> torch.dtype:
        return self.kind if self.floats else torch.int32


class _Worker:
    """One thread's copy of a chunk, and its products."""

    def __init__(self, sums: _Sums) -> None:
        self._sums, self._job = sums, sums.job
        self._pass: Pass | None = None

    def compute(self, task: int) -> None:
        job = self._job
        rows, start = job.tasks[task]
        if rows is not self._pass:
            self._prepare(rows)
        self._copies.fill(job.images[start : start + rows.images, :, rows.top : rows.bottom])
        for left, right, out in self._factors:
            job.multiply(left, right, out)
        self._measured = self._measuring.measure()

    def add(self, task: int) -> None:
        self._sums.add(self._job.tasks[task][0], self._products, self._columns, self._measured)

    def _prepare(self, rows: Pass) -> None:
        """Allocate what all chunks of a pass use."""
        job, groups = self._job, len(rows.groups)
        size = (rows.bottom - rows.top, rows.images)
        self._pass = rows
        self._copies = RowCopies(size, job.layout, job.kind, job.offset)
        self._products = torch.zeros(groups, job.kh, sum(job.sizes), dtype=job.type_of_products)
        self._columns = torch.zeros(groups, 2, job.layout.pitch, dtype=job.type_of_products)
        self._factors = list(self._views(rows))
        first, last = rows.groups[0][0] - rows.top, rows.groups[-1][1] - rows.top
        self._measuring = self._sums.check.measuring(
            self._copies.rows, first, last, job.multiply, job.type_of_products
        )

    def _views(self, rows: Pass) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the factors (m, k) and (k, n) of all products, and where the product goes."""
        job, copied = self._job, self._copies.rows
        for group, (first, last) in enumerate(rows.groups):
            top, size = first - rows.top, last - first
            upper = copied[top : top + size].flatten(0, 1)
            # Two equal rows, because products with one row are wrong in torch 2.10 to 2.14.1.
            yield upper.new_ones(2, len(upper)), upper, self._columns[group]
            lefts = [upper.narrow(1, tile.left, tile.m).T for tile in job.tiles]
            for dy in range(min(job.kh, job.height - last + 1)):
                lower = copied[top + dy : top + dy + size].flatten(0, 1)
                outs = self._products[group, dy].split(job.sizes)
                for tile, left, out in zip(job.tiles, lefts, outs, strict=True):
                    yield left, lower.narrow(1, tile.right, tile.n), out.view(tile.m, tile.n)


class _Sums:
    """Sums over all chunks, to which one thread at a time adds.

    ``products`` (a, dy, p) hold the products of all tiles, one after the other, and ``columns``
    (a, p) the sums of a row: those over the rows of a = 0, then the differences to the next a.
    """

    def __init__(self, job: _Job) -> None:
        self.job, self.done = job, 0.0
        wide = wide_type(torch.empty(0, dtype=job.kind))
        self.products = torch.zeros(job.kh, job.kh, sum(job.sizes), dtype=wide)
        self.columns = torch.zeros(job.kh, job.layout.pitch, dtype=wide)
        factors = torch.zeros(len(job.tiles), 2, job.layout.pitch, dtype=torch.bool)
        for mask, tile in zip(factors, job.tiles, strict=True):
            mask[0, tile.left : tile.left + tile.m] = True
            mask[1, tile.right : tile.right + tile.n] = True
        row = torch.empty(0, dtype=job.kind)
        self.check = Projections(row, factors, job.kh, job.height)
        self._recent: tuple[Tensor, Tensor] | None = None
        self._pass, self._terms = job.passes[0], 0

    def add(self, rows: Pass, products: Tensor, columns: Tensor, measured: Measured) -> None:
        """Add the products (g, dy, p) of a chunk, and the sums (g, 2, p) of its rows."""
        job = self.job
        self.done += len(job.images) * rows.images / self._counted(rows) / len(job.passes)
        self.check.add(measured, rows.groups[0][0])
        terms = rows.images * max(last - first for first, last in rows.groups)
        if rows is not self._pass or self._terms + terms > MAX_TERMS:
            self._flush()
        self._pass = rows
        if job.floats or rows.images >= len(job.images):
            self._widen(products, columns)
        elif self._recent is None:
            self._recent, self._terms = (products.clone(), columns.clone()), terms
        else:
            self._recent[0].add_(products)
            self._recent[1].add_(columns)
            self._terms += terms

    def _counted(self, rows: Pass) -> int:
        """Return the number of images in all chunks of a pass, of which the last may be filled."""
        return -(-len(self.job.images) // rows.images) * rows.images

    def _flush(self) -> None:
        if self._recent is not None:
            self._widen(*self._recent)
        self._recent, self._terms = None, 0

    def _widen(self, products: Tensor, columns: Tensor) -> None:
        """Add sums of each group of rows to those of the first a that takes it, less the others."""
        for (first, last), product, (column, _) in zip(
            self._pass.groups, products, columns, strict=True
        ):
            low, after = self._taken_by(first, last)
            self.products[low] += product
            self.columns[low] += column
            if after < self.job.kh:
                self.products[after] -= product
                self.columns[after] -= column

    def _taken_by(self, first: int, last: int) -> tuple[int, int]:
        """Return the first row of a patch that takes these rows, and the one after the last."""
        job = self.job
        return max(0, last - (job.height - job.kh + 1)), min(first, job.kh - 1) + 1

    def hold(self) -> bool:
        """Return True if all sums agree with the check; call it once, at the end."""
        self._flush()
        job = self.job
        rows = torch.zeros(job.kh + 1, 1, job.height, dtype=torch.int64)
        for y in range(job.height):
            low, after = self._taken_by(y, y + 1)
            rows[low, 0, y], rows[after, 0, y] = 1, -1
        tiles = zip(job.tiles, self.products.split(job.sizes, 2), strict=True)
        found = (
            (self.columns[:, t.left : t.left + t.m], products.unflatten(2, (t.m, t.n)))
            for t, products in tiles
        )
        return self.check.holds(found, rows[: job.kh])

    def bands(self) -> tuple[Tensor, Tensor]:
        """Return what :func:`chunk_sums` returns."""
        job, (columns, products) = self.job, (self.columns, self.products)
        for a in range(1, job.kh):
            columns[a] += columns[a - 1]
            products[a] += products[a - 1]
        index = self._band_places()
        bands = products.flatten(0, 1)[:, index.flatten()].view(job.kh, job.kh, *index.shape)
        return columns[:, job.layout.places()].movedim(2, 0), bands.permute(5, 4, 0, 1, 2, 3)

    def _band_places(self) -> Tensor:
        """Return where the product of (c, x) and (c', x + dx) lies: (c, c', dx, x)."""
        places, halo = self.job.layout.places(), self.job.kw - 1
        starts = torch.tensor([0, *self.job.sizes]).cumsum(0)
        parts = []
        for tile, start in zip(self.job.tiles, starts, strict=False):
            columns = torch.arange(tile.x, tile.end)
            across = columns + torch.arange(-halo, halo + 1)[:, None]
            across = across.clamp(max(tile.x - halo, 0), min(tile.end + halo, places.shape[1]) - 1)
            left = places[:, None, None, tile.x : tile.end] - tile.left
            right = places[:, across] - tile.right  # (c', dx, x)
            parts.append(start + left * tile.n + right)
        return torch.cat(parts, 3)
