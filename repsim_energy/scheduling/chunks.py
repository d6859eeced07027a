"""Patch moments of image sets that exceed the memory of one machine, chunk by chunk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial, reduce
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.errors import DataError, RepsimError, UsageError, warn
from repsim_energy.files.array_files import read_npy
from repsim_energy.files.storage import check_writable
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.numerics.patches.batches import batches_of
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
from repsim_energy.progress import Reporter, showing, silent, working
from repsim_energy.scheduling.chunk_identity import made_of, noted
from repsim_energy.scheduling.local import Local
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.scheduling.sums_file import UNCLEAR, Known, read_sums, write_sums

__all__ = ["moments_of_groups", "moments_of_images", "patch_moments_of_chunks"]

Chunk = str | Path | Callable[[], Tensor | Iterable[Tensor]]

PART_BYTES = 32 * 2**20
"""Size of the parts in which images are sent to workers."""

CHECKPOINT_SECONDS = 10.0
"""Time between two writes of the checkpoint."""

LARGE_BYTES = 4 * PART_BYTES
"""Size of images from which on they are sent to a cluster."""


def moments_of_images(
    scheduler: Scheduler, images: Tensor, patch: tuple[int, int], *, large: int = LARGE_BYTES
) -> PatchMoments:
    """Return the patch moments of images in memory, summed on the cluster if they are large.

    Only uint8 images are sent to it: their sums are exact, so they do not depend on the split.
    """
    if scheduler.is_local or images.dtype != torch.uint8 or images.nbytes < large:
        return patch_moments(images, patch)
    count = max(1, len(images) * PART_BYTES // images.nbytes)
    pieces = (piece.clone() for piece in images.split(count))  # else all images would be sent
    with working("summing patches on the cluster", -(-len(images) // count), "parts") as advance:

        def merged(sums: PatchMoments, part: PatchMoments) -> PatchMoments:
            advance(1)
            return sums + part

        return reduce(merged, scheduler.in_order(partial(patch_moments, patch=patch), pieces))


def moments_of_groups(
    scheduler: Scheduler,
    images: Tensor,
    patch: tuple[int, int],
    groups: Sequence[NDArray[np.int64]],
    *,
    large: int = LARGE_BYTES,
) -> list[PatchMoments]:
    """Return the patch moments of groups of images, where :func:`moments_of_images` would sum them.

    Those of uint8 images add up to the moments of all images, bit for bit.

    Parameters
    ----------
    groups : numbers of the images of each group
    """
    far = not (scheduler.is_local or images.dtype != torch.uint8 or images.nbytes < large)
    count = max(1, len(images) * PART_BYTES // images.nbytes) if far else len(images)
    pieces = [
        (number, group[start : start + count])
        for number, group in enumerate(groups)
        for start in range(0, len(group), count)
    ]
    selected = (images[torch.from_numpy(piece)] for _, piece in pieces)
    summed = partial(patch_moments, patch=patch)
    found: list[PatchMoments | None] = [None] * len(groups)
    label = f"summing {patch[0]}x{patch[1]} patches" + (" on the cluster" if far else "")
    with working(label, len(images), "images") as advance, silent():
        moments = scheduler.in_order(summed, selected) if far else map(summed, selected)
        for (number, piece), part in zip(pieces, moments, strict=True):
            before = found[number]
            found[number] = part if before is None else before + part
            advance(len(piece))
    return [part for part in found if part is not None]


def patch_moments_of_chunks(
    chunks: Iterable[Chunk],
    patch: tuple[int, int],
    *,
    scheduler: str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
    reporter: Reporter | None = None,
) -> PatchMoments:
    """Return the moments of all overlapping patches of images that are read chunk by chunk.

    Each chunk is read and summed by one task, and its sums are added once, in the order of the
    chunks. If a worker is lost, another one repeats its chunk. The result is that of
    :func:`patch_moments` over the same batches in one process, bit for bit for uint8 images.

    Parameters
    ----------
    chunks : each a function without arguments that returns images (n, c, h, w), uint8 or float,
        or an iterable of such batches; or the path of a ``.npy`` file of images (n, h, w, c). On a
        cluster, paths and functions must mean the same on every worker
    patch : (kh, kw)
    scheduler : ``local`` or ``local:N`` for processes of this machine, ``tcp://HOST:PORT`` for a
        Dask cluster; without one, this process
    checkpoint : a file for the sums so far, written every few seconds and at the end, with hashes
        of the summed chunks. A second call with the same chunks (or more) continues from it. A
        chunk with the same code, arguments and files (size and modification time) is not read
        again. Any other chunk is, and its pixels are compared by their SHA-256. Data that a
        function fetches over a network are not checked
    progress : whether to show progress, as of :func:`compare`
    reporter : instead of ``progress``: receives the number of chunks that are summed, see
        :meth:`Reporter.work`

    Returns
    -------
    PatchMoments

    Raises
    ------
    RepsimError
        For a chunk that cannot be read or summed, with its number. The checkpoint contains the
        chunks before it.
    UsageError
        For a checkpoint of other chunks or another patch.
    FileError
        For a file that is not a checkpoint. It is not changed.

    Warns
    -----
    RepsimWarning
        If the checkpoint cannot be written, for example on a full disk. Summing continues.

    Examples
    --------
    >>> images = torch.arange(64, dtype=torch.uint8).reshape(4, 1, 4, 4)
    >>> moments = patch_moments_of_chunks([lambda: images[:2], lambda: images[2:]], (3, 3))
    >>> moments.count, torch.equal(moments.second, patch_moments(images, (3, 3)).second)
    (16, True)
    """
    total = len(chunks) if isinstance(chunks, Sized) else None
    with showing(reporter, progress), scheduler_of(scheduler) as where:
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
            f"chunk {numbered[0]}{_path_of(numbered)} could not be summed ({reason}), expected "
            "images of one type; repair it and call again"
        ) from error


def _path_of(numbered: Numbered) -> str:
    chunk = numbered[1]
    return f" ('{chunk}')" if isinstance(chunk, str | Path) else ""


def _read(chunk: Chunk) -> Tensor | Iterable[Tensor]:
    if not isinstance(chunk, str | Path):
        return chunk()
    return tensor_of(read_npy(Path(chunk))).permute(0, 3, 1, 2)


class _Sums:
    """Sums of the chunks so far, with their checkpoint."""

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
        """Refuse chunks that differ from those of the checkpoint."""
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
                self._refuse(f"other images: those of chunk {chunk[0]}{_path_of(chunk)} differ")

    def _refuse(self, difference: str) -> None:
        raise UsageError(
            f"checkpoint '{self._path}' holds sums of {difference}; delete it to start again, or "
            "give another path"
        )

    def add(self, part: PatchMoments, chunk: Known | None) -> None:
        """Add the next chunk."""
        self.moments = part if self.moments is None else self.moments + part
        if chunk is not None:
            self.chunks.append(chunk)
        if time.monotonic() - self._written[1] > CHECKPOINT_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the checkpoint if there are new sums."""
        if self._path is None or self.moments is None or len(self.chunks) == self._written[0]:
            return
        try:
            write_sums(self._path, self.chunks, self.moments)
        except RepsimError as error:  # a full disk costs the checkpoint, not the sums
            warn(f"{error}; summing goes on")
        self._written = (len(self.chunks), time.monotonic())
