"""Images in many files: read once, cached as one file, and mapped from there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from repsim_energy.progress import working

__all__ = ["iter_image_batches", "image_set_from_files", "mapped_images", "load_rgb"]

BATCH_BYTES = 16 * 2**20
"""Bytes of pixels that are read before they are written to the cache."""

MAX_BATCH_IMAGES = 512
"""Images that are read before they are written to the cache, at most."""

FILES_PER_TASK = 16
"""Files that a thread reads per task: reading a small file takes no longer than starting a task."""

DECODER = f"Pillow {PIL.__version__}"
"""Library that decodes the files. Its versions may differ in rounding, so it is part of the key."""

Pixels = NDArray[np.uint8]
Read = Callable[[Path], Pixels]


def load_rgb(path: Path) -> Image.Image:
    """Return an image file as 8-bit RGB.

    Gray and CMYK are converted. Transparent parts become white.

    Parameters
    ----------
    path : of a file in any format that Pillow reads

    Returns
    -------
    PIL.Image.Image of mode ``RGB``

    Raises
    ------
    FileError
        For a file that is missing, damaged, not an image, or has more than 8 bits per channel.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "gray.png")
    ...     Image.new("L", (4, 3), 128).save(path)
    ...     image = load_rgb(path)
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (4, 3), (128, 128, 128))
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
    """Return the images of many files, read once and then mapped from one file in the cache.

    Classes and ``limit`` are applied before any file is read. The cached file holds the raw pixels.
    Its key consists of the paths, sizes and modification times of the files, of ``shape``,
    ``version`` and the version of Pillow, and its SHA-256 is checked when it is mapped. Only a few
    images are in memory at a time. If the cache cannot be written, all images are read into memory.

    Parameters
    ----------
    files : the image files
    labels : for each file, an index into ``classes``
    classes : names of the classes
    name : of the image set
    read : called in threads with a file, returns (c, h, w) uint8
    shape : (c, h, w) of every image
    version : text that changes when ``read`` returns other pixels, such as another crop
    keep : the classes to keep, numbered in this order; all by default
    limit : the maximum number of images, spread evenly over the classes

    Returns
    -------
    ImageSet

    Raises
    ------
    UsageError
        For unknown classes, and where neither disk nor memory has room for the pixels.
    FileError
        For a file that is missing.
    DataError
        For images of another shape.
    RepsimError
        For a file of the cache that cannot be read.

    Warns
    -----
    RepsimWarning
        Where the cache cannot be written. The files are then read each time.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> def read(path):
    ...     return np.asarray(load_rgb(path)).transpose(2, 0, 1)
    >>> with TemporaryDirectory() as folder:
    ...     files = [Path(folder, f"{value}.png") for value in (10, 20)]
    ...     for value, file in zip((10, 20), files, strict=True):
    ...         Image.new("RGB", (4, 4), (value, 0, 0)).save(file)
    ...     found = image_set_from_files(
    ...         files, [0, 1], ["a", "b"], "two", read, shape=(3, 4, 4), version="1"
    ...     )
    >>> found.images.shape, found.images[:, 0, 0, 0].tolist()
    (torch.Size([2, 3, 4, 4]), [10, 20])
    """
    numbered = torch.arange(len(files)).view(-1, 1, 1, 1)
    every = ImageSet(numbered, torch.tensor(labels, dtype=torch.int64), tuple(classes), name)
    chosen = select(every, classes=None if keep is None else tuple(keep), limit=limit)
    selected = [files[i] for i in chosen.images.flatten().tolist()]
    images = mapped_images(selected, read, shape, f"{version}\n{DECODER}", name)
    return ImageSet(images, chosen.labels, chosen.classes, name)


def iter_image_batches(files: Sequence[Path], read: Read, at_once: int = 256) -> Iterator[Tensor]:
    """Yield the images of many files in batches, read in threads and one batch ahead.

    Parameters
    ----------
    files : the image files
    read : called in threads with a file, returns (c, h, w) uint8; its errors are passed on
    at_once : n, the number of images in a batch

    Yields
    ------
    (n, c, h, w) uint8; the last batch may have fewer images

    Raises
    ------
    UsageError
        For ``at_once`` below 1.
    DataError
        For images of several shapes, or of another type than uint8.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> def read(path):
    ...     return np.asarray(load_rgb(path)).transpose(2, 0, 1)
    >>> with TemporaryDirectory() as folder:
    ...     files = [Path(folder, f"{number}.png") for number in range(5)]
    ...     for file in files:
    ...         Image.new("RGB", (4, 4)).save(file)
    ...     [len(batch) for batch in iter_image_batches(files, read, at_once=2)]
    [2, 2, 1]
    """
    if at_once < 1:
        raise UsageError(f"got at_once={at_once}, expected at least 1 image")
    groups = [files[start : start + at_once] for start in range(0, len(files), at_once)]
    with ThreadPoolExecutor() as pool:

        def begin(group: Sequence[Path]) -> tuple[Sequence[Path], Iterator[Pixels]]:
            starts = range(0, len(group), FILES_PER_TASK)
            tasks = [group[start : start + FILES_PER_TASK] for start in starts]
            return group, chain.from_iterable(pool.map(partial(_read_each, read), tasks))

        under_way = deque(begin(group) for group in groups[:1])
        for number in range(len(groups)):
            under_way.extend(begin(group) for group in groups[number + 1 :][:1])
            yield _stacked(*under_way.popleft())


def _read_each(read: Read, files: Sequence[Path]) -> list[Pixels]:
    return [read(file) for file in files]


def _stacked(files: Sequence[Path], images: Iterable[Pixels]) -> Tensor:
    batch = list(images)
    for file, pixels in zip(files, batch, strict=True):
        if pixels.shape != batch[0].shape or pixels.dtype != np.uint8:
            raise DataError(
                f"'{file}' was read as {pixels.dtype} {pixels.shape}, expected uint8 "
                f"{batch[0].shape} like '{files[0]}'; crop the images to one size"
            )
    return torch.from_numpy(np.ascontiguousarray(np.stack(batch)))


def mapped_images(
    files: Sequence[Path], read: Read, shape: Shape, version: str, name: str
) -> Tensor:
    """Return the (n, c, h, w) images of files, mapped from one file in the cache.

    If that file does not exist, the images are read, and progress is reported.
    The parameters are those of :func:`image_set_from_files`.
    """

    def batches() -> Iterator[Tensor]:
        at_once = max(1, min(MAX_BATCH_IMAGES, BATCH_BYTES // math.prod(shape)))
        with working(f"reading images of {name}", len(files), "images") as advance:
            for batch in iter_image_batches(files, read, at_once):
                if batch.shape[1:] != shape:
                    raise DataError(
                        f"images were read as {tuple(batch.shape[1:])}, expected {shape}; report "
                        "this to the author of the data set"
                    )
                yield batch
                advance(len(batch))

    return cached_pixels(files, batches, shape, version)
