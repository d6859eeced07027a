"""Pictures in many files: read once, kept as one file in the cache, mapped from there."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from repsim_energy.data.mapped import map_images
from repsim_energy.data.selection import select
from repsim_energy.errors import DataError, FileError, UsageError
from repsim_energy.interfaces import ImageSet
from repsim_energy.storage import atomic_path, cache_folder

__all__ = ["batches_of_files", "images_of_files", "open_picture"]

BLOCK = 16 * 2**20
"""Bytes of pixels that are read before they are written."""

Pixels = NDArray[np.uint8]
Read = Callable[[Path], Pixels]
Shape = tuple[int, int, int]


def open_picture(path: Path) -> Image.Image:
    """Return a picture in 8-bit RGB; grey and CMYK are converted, transparency is laid on white.

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


def images_of_files(
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
    raw pixels and a name made of the names, sizes and times of change of the files that were read,
    of ``shape`` and of ``version``. Never more than a few images are held in memory, neither here
    nor where the set is gone through part by part.

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
        For classes that there are not, and for pixels that the disk has no room for.
    FileError
        For a file that is missing.
    DataError
        For images of another shape.
    """
    numbered = torch.arange(len(files)).view(-1, 1, 1, 1)
    every = ImageSet(numbered, torch.tensor(labels, dtype=torch.int64), tuple(classes), name)
    chosen = select(every, classes=None if keep is None else tuple(keep), limit=limit)
    wanted = [files[i] for i in chosen.images.flatten().tolist()]
    images = _mapped(wanted, read, shape, version)
    return ImageSet(images, chosen.labels, chosen.classes, name)


def batches_of_files(files: Sequence[Path], read: Read, at_once: int = 256) -> Iterator[Tensor]:
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
        under_way = deque((group, pool.map(read, group)) for group in groups[:1])
        for number in range(len(groups)):
            under_way.extend((group, pool.map(read, group)) for group in groups[number + 1 :][:1])
            yield _stacked(*under_way.popleft())


def _stacked(files: Sequence[Path], images: Iterable[Pixels]) -> Tensor:
    found = list(images)
    for file, pixels in zip(files, found, strict=True):
        if pixels.shape != found[0].shape or pixels.dtype != np.uint8:
            raise DataError(
                f"'{file}' was read as {pixels.dtype} {pixels.shape}, expected uint8 "
                f"{found[0].shape} as of '{files[0]}'; cut images to one size"
            )
    return torch.from_numpy(np.stack(found))


def _mapped(files: Sequence[Path], read: Read, shape: Shape, version: str) -> Tensor:
    """Return the images of files from the cache, where they are put if they are not there."""
    whole = (len(files), *shape)
    if 0 in whole:
        return torch.empty(whole, dtype=torch.uint8)
    path = cache_folder("images") / f"{_key(files, shape, version)}.npy"
    with suppress(OSError, ValueError, EOFError):  # not there, or cut off
        return map_images(path)
    _check_room(path.parent, whole)
    at_once = max(1, BLOCK // math.prod(shape))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": whole}
        npy.write_array_header_1_0(file, header)
        for batch in batches_of_files(files, read, at_once):
            if batch.shape[1:] != shape:
                raise DataError(
                    f"images were read as {tuple(batch.shape[1:])}, expected {shape}; report this "
                    "to the author of the data set"
                )
            file.write(batch.numpy().data)
    return map_images(path)


def _key(files: Sequence[Path], shape: Shape, version: str) -> str:
    digest = hashlib.sha256(f"{shape}\n{version}\n".encode())
    for file in files:
        try:
            state = file.stat()
        except OSError as error:
            raise FileError(
                f"'{file}' cannot be read ({error.strerror}), expected an image; put it there"
            ) from error
        digest.update(os.fsencode(file) + f"\n{state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _check_room(folder: Path, whole: tuple[int, ...]) -> None:
    needed, free = math.prod(whole), shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"the pixels of {whole[0]} images take {needed / 1e9:.1f} GB in '{folder}', which has "
            f"{free / 1e9:.1f} GB left; choose fewer with limit= or classes=, or move REPSIM_CACHE"
        )
