"""Patch moments of more images than one machine holds: chunk by chunk, wherever there is room."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial, reduce
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import DataError, RepsimError, RepsimWarning, UsageError
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.numerics.patches.moments import PatchMoments, batches_of, patch_moments
from repsim_energy.progress import Reporter, reporting, working
from repsim_energy.scheduling.chunk_identity import made_of, noted
from repsim_energy.scheduling.local import Local
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.scheduling.sums_file import UNCLEAR, Known, read_sums, write_sums
from repsim_energy.storage import check_writable

__all__ = ["moments_of_images", "patch_moments_of_chunks"]

SILENT = Reporter()

Chunk = str | Path | Callable[[], Tensor | Iterable[Tensor]]

PIECE = 32 * 2**20
"""Bytes of images that are sent to a worker at once."""

SECONDS = 10.0
"""Between two writings of the sums so far."""

LARGE = 4 * PIECE
"""Bytes of images from which on they are sent to a cluster at all."""


def moments_of_images(
    scheduler: Scheduler, images: Tensor, patch: tuple[int, int], *, large: int = LARGE
) -> PatchMoments:
    """Return the patch moments of images in memory, on a cluster where they are large.

    Only sums of bytes, which are exact, come out the same in every bit however they are split;
    floats stay here.
    """
    if scheduler.is_local or images.dtype != torch.uint8 or images.nbytes < large:
        return patch_moments(images, patch)
    count = max(1, len(images) * PIECE // images.nbytes)
    pieces = (piece.clone() for piece in images.split(count))  # else all images would be sent
    with working("summing patches on the cluster", -(-len(images) // count), "parts") as advance:

        def merged(sums: PatchMoments, part: PatchMoments) -> PatchMoments:
            advance(1)
            return sums + part

        return reduce(merged, scheduler.in_order(partial(patch_moments, patch=patch), pieces))


def patch_moments_of_chunks(
    chunks: Iterable[Chunk],
    patch: tuple[int, int],
    *,
    scheduler: str | None = None,
    checkpoint: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> PatchMoments:
    """Return the moments of all overlapping patches of images that are read where they are summed.

    Each chunk is read and summed by one task, and its sums are added once, in the order of the
    chunks. A chunk whose worker is lost is taken again by another. The result is that of
    :func:`patch_moments` over the same batches in one process, bit for bit for uint8 images.

    Parameters
    ----------
    chunks : each a function without arguments that returns images (n, c, h, w), uint8 or float,
        or an iterable of such batches; or the path of a ``.npy`` file of images (n, h, w, c). On a
        cluster, a path or function has to mean the same on every worker
    patch : (kh, kw)
    scheduler : ``local`` or ``local:N`` for processes of this machine, ``tcp://HOST:PORT`` for a
        Dask cluster; without one, this process. Processes need ``if __name__ == "__main__":``
    checkpoint : a file that keeps the sums, written every few seconds and at the end, with what
        the chunks behind them are made of and the SHA-256 of their pixels. Called again with the
        same chunks (and more, if you like), the work goes on there: a chunk whose code, arguments
        and files (size and time of change) are as before is not read again, any other is, and its
        pixels are compared. What a function fetches over a network is not looked at
    reporter : receives the number of chunks that are summed, see :meth:`Reporter.work`

    Returns
    -------
    PatchMoments

    Raises
    ------
    RepsimError
        For a chunk that cannot be read or summed, by its number. What has been added up to then is
        in the checkpoint.
    UsageError
        For a checkpoint of other chunks or another patch.
    FileError
        For a checkpoint that is none; it stays as it is.

    Warns
    -----
    RepsimWarning
        Where the checkpoint cannot be written, on a full disk perhaps; the work goes on.

    Examples
    --------
    >>> images = torch.arange(64, dtype=torch.uint8).reshape(4, 1, 4, 4)
    >>> moments = patch_moments_of_chunks([lambda: images[:2], lambda: images[2:]], (3, 3))
    >>> moments.count, torch.equal(moments.second, patch_moments(images, (3, 3)).second)
    (16, True)
    """
    total = len(chunks) if isinstance(chunks, Sized) else None
    with reporting(reporter), scheduler_of(scheduler) as where:
        sums = _Sums(None if checkpoint is None else Path(checkpoint), patch)
        numbered = enumerate(chunks)
        sums.check(where, list(islice(numbered, len(sums.chunks))))
        remaining = None if total is None else total - len(sums.chunks)
        summed = partial(_moments_of_chunk, patch=patch, kept=checkpoint is not None)
        with working("summing chunks", remaining, "chunks") as advance:
            try:
                for part, chunk in where.in_order(summed, numbered):
                    sums.add(part, chunk)
                    advance(1)
            finally:
                sums.write()
    if sums.moments is None:
        raise DataError("got no chunks, expected at least one function or path")
    return sums.moments


Numbered = tuple[int, Chunk]


def _moments_of_chunk(
    numbered: Numbered, patch: tuple[int, int], kept: bool
) -> tuple[PatchMoments, Known | None]:
    with _chunk_named(numbered):
        if not kept:
            return patch_moments(_read(numbered[1]), patch), None
        before, pixels = _made_of(numbered), hashlib.sha256()
        moments = patch_moments(noted(batches_of(_read(numbered[1])), pixels), patch)
        return moments, Known(before, pixels.digest())


def _made_of(numbered: Numbered) -> bytes:
    return made_of(numbered[1]) or UNCLEAR


def _pixels(numbered: Numbered) -> bytes:
    with _chunk_named(numbered):
        pixels = hashlib.sha256()
        for _ in noted(batches_of(_read(numbered[1])), pixels):
            pass
        return pixels.digest()


@contextmanager
def _chunk_named(numbered: Numbered) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RepsimError(
            f"chunk {numbered[0]} could not be summed ({reason}), expected images of one type; "
            "repair it and call again"
        ) from error


def _read(chunk: Chunk) -> Tensor | Iterable[Tensor]:
    if not isinstance(chunk, str | Path):
        return chunk()
    return tensor_of(np.load(chunk, allow_pickle=False)).permute(0, 3, 1, 2)


class _Sums:
    """Sums so far and of which chunks; written down now and then, and when they are left."""

    def __init__(self, path: Path | None, patch: tuple[int, int]) -> None:
        self._path = path
        self.chunks: list[Known] = []
        self.moments: PatchMoments | None = None
        if path is not None:
            check_writable(path)
            if path.exists():
                self.chunks, self.moments = read_sums(path, patch)
        self._written = (len(self.chunks), time.monotonic())

    def check(self, where: Scheduler, begun: Sequence[Numbered]) -> None:
        """Refuse chunks that are not those that were summed."""
        if not self.chunks:
            return
        if len(begun) < len(self.chunks):
            self._refuse(f"{len(self.chunks)} chunks, got {len(begun)}")
        look = Local(1) if where.is_local else where  # whose workers see the files
        found = look.in_order(_made_of, begun)
        changed = [
            chunk
            for chunk, now, known in zip(begun, found, self.chunks, strict=True)
            if now != known.made_of or now == UNCLEAR
        ]
        for chunk, pixels in zip(changed, where.in_order(_pixels, changed), strict=True):
            if pixels != self.chunks[chunk[0]].pixels:
                name = f" ('{chunk[1]}')" if isinstance(chunk[1], str | Path) else ""
                self._refuse(f"other images: those of chunk {chunk[0]}{name} differ")

    def _refuse(self, difference: str) -> None:
        raise UsageError(
            f"checkpoint '{self._path}' holds sums of {difference}; delete it to begin anew, or "
            "give another path"
        )

    def add(self, part: PatchMoments, chunk: Known | None) -> None:
        """Add the next chunk."""
        self.moments = part if self.moments is None else self.moments + part
        if chunk is not None:
            self.chunks.append(chunk)
        if time.monotonic() - self._written[1] > SECONDS:
            self.write()

    def write(self) -> None:
        """Write the sums down, where there are new ones."""
        if self._path is None or self.moments is None or len(self.chunks) == self._written[0]:
            return
        try:
            write_sums(self._path, self.chunks, self.moments)
        except RepsimError as error:  # a full disk costs the checkpoint, not the sums
            warnings.warn(f"{error}; summing goes on", RepsimWarning, stacklevel=4)
        self._written = (len(self.chunks), time.monotonic())
