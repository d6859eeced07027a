"""Pictures in many files: read once, kept as one file in the cache, mapped from there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from repsim_energy.data.pixel_cache import Shape, cached_pixels
from repsim_energy.data.selection import select
from repsim_energy.errors import DataError, FileError, UsageError
from repsim_energy.interfaces import ImageSet

__all__ = ["iter_image_batches", "image_set_from_files", "mapped_images", "load_rgb", "watched"]

BLOCK = 16 * 2**20
"""Bytes of pixels that are read before they are written."""

AT_ONCE = 512
"""Images that are read before they are written, at most."""

PIECE = 16
"""Files that a thread reads in turn: small ones take no longer than it takes to ask for them."""

DECODER = f"Pillow {PIL.__version__}"
"""What turns files into pixels, in versions that may differ by a rounding."""

Pixels = NDArray[np.uint8]
Read = Callable[[Path], Pixels]


def load_rgb(path: Path) -> Image.Image:
    """Return a picture in 8-bit RGB; gray and CMYK are converted, transparency is laid on white.

    Raises
    ------
    FileError
        For a file that is missing, damaged, no picture, or has more than 8 bits per channel.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise FileError(
                    f"'{path}' has more than 8 bits per channel (mode {picture.mode}), expected 8; "
                    "convert it"
                )
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            layer = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:100]
        raise FileError(
            f"'{path}' cannot be read as an image ({reason}); remove or replace it"
        ) from error
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def image_set_from_files(
    files: Sequence[Path],
    labels: Sequence[int],
    classes: Sequence[str],
    name: str,
    read: Read,
    *,
    shape: Shape,
    version: str,
    keep: Sequence[str] | None = None,
    limit: int | None = None,
) -> ImageSet:
    """Return the images of files, read once and from then on mapped from one file in the cache.

    Classes and limit are chosen before anything is read. The file in the cache has the size of the
    raw pixels and a name made of the paths, sizes and times of change of the files that were read,
    of ``shape``, ``version`` and the version of Pillow; what is mapped is compared with its
    SHA-256. Never more than a few images are held in memory, neither here nor where the set is
    gone through part by part. Where the cache cannot be written, they are read into memory.

    Parameters
    ----------
    files, labels : for each file, an index into ``classes``
    name : of the set
    read : called in threads with a file, returns (c, h, w) uint8
    shape : (c, h, w)
    version : whatever else the pixels depend on, such as how they are cut out
    keep : these classes, numbered in this order
    limit : at most so many images, spread evenly over the classes

    Raises
    ------
    UsageError
        For classes that there are not, and for pixels that neither disk nor memory has room for.
    FileError
        For a file that is missing.
    DataError
        For images of another shape.

    Warns
    -----
    RepsimWarning
        Where the cache cannot be written, so that the files are read anew each time.
    """
    numbered = torch.arange(len(files)).view(-1, 1, 1, 1)
    every = ImageSet(numbered, torch.tensor(labels, dtype=torch.int64), tuple(classes), name)
    chosen = select(every, classes=None if keep is None else tuple(keep), limit=limit)
    wanted = [files[i] for i in chosen.images.flatten().tolist()]
    images = mapped_images(wanted, read, shape, f"{version}\n{DECODER}")
    return ImageSet(images, chosen.labels, chosen.classes, name)


def iter_image_batches(files: Sequence[Path], read: Read, at_once: int = 256) -> Iterator[Tensor]:
    """Yield the images of files, (n, c, h, w) uint8, read in threads and one batch ahead.

    Parameters
    ----------
    read : called with a file, returns (c, h, w) uint8
    at_once : n, images in a batch

    Raises
    ------
    FileError
        For a file that ``read`` refuses.
    DataError
        For images of several shapes.
    """
    if at_once < 1:
        raise UsageError(f"got {at_once} images at once, expected at least 1")
    groups = [files[start : start + at_once] for start in range(0, len(files), at_once)]
    with ThreadPoolExecutor() as pool:

        def begin(group: Sequence[Path]) -> tuple[Sequence[Path], Iterator[Pixels]]:
            pieces = [group[start : start + PIECE] for start in range(0, len(group), PIECE)]
            return group, chain.from_iterable(pool.map(partial(_read_each, read), pieces))

        under_way = deque(begin(group) for group in groups[:1])
        for number in range(len(groups)):
            under_way.extend(begin(group) for group in groups[number + 1 :][:1])
            yield _stacked(*under_way.popleft())


def _read_each(read: Read, files: Sequence[Path]) -> list[Pixels]:
    return [read(file) for file in files]


def _stacked(files: Sequence[Path], images: Iterable[Pixels]) -> Tensor:
    found = list(images)
    for file, pixels in zip(files, found, strict=True):
        if pixels.shape != found[0].shape or pixels.dtype != np.uint8:
            raise DataError(
                f"'{file}' was read as {pixels.dtype} {pixels.shape}, expected uint8 "
                f"{found[0].shape} as of '{files[0]}'; cut images to one size"
            )
    return torch.from_numpy(np.stack(found))


def mapped_images(files: Sequence[Path], read: Read, shape: Shape, version: str) -> Tensor:
    """Return the images of files, (n, c, h, w), mapped from one file in the cache.

    They are read where that file is not there, with progress for :func:`watched`. Parameters as of
    :func:`image_set_from_files`.
    """

    def batches() -> Iterator[Tensor]:
        report, done = _watch.get(), 0
        for batch in iter_image_batches(
            files, read, max(1, min(AT_ONCE, BLOCK // math.prod(shape)))
        ):
            if batch.shape[1:] != shape:
                raise DataError(
                    f"images were read as {tuple(batch.shape[1:])}, expected {shape}; report this "
                    "to the author of the data set"
                )
            yield batch
            done += len(batch)
            if report is not None:
                report(done, len(files))

    return cached_pixels(files, batches, shape, version)


@contextmanager
def watched(report: Callable[[int, int], None] | None) -> Iterator[None]:
    """Have files that are read meanwhile reported, by how many are done and how many there are."""
    token = _watch.set(report)
    try:
        yield
    finally:
        _watch.reset(token)


_watch: ContextVar[Callable[[int, int], None] | None] = ContextVar("watch", default=None)
