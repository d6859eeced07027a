"""Images in many files: read once, cached as one file, and mapped from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from repsim_energy.data.decoding import DECODER, Shape
from repsim_energy.data.picture_files import File, PictureFiles, Read
from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.data.selection import select
from repsim_energy.interfaces import ImageSet

__all__ = ["image_set_from_files", "mapped_images"]


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
        For a file that is missing, or has changed when it has been read.
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
    >>> import numpy as np
    >>> from PIL import Image
    >>> from repsim_energy.data.decoding import load_rgb
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


def mapped_images(
    files: Sequence[File], read: Read, shape: Shape, version: str, name: str
) -> Tensor:
    """Return the (n, c, h, w) images of files, mapped from one file in the cache.

    If that file does not exist, the images are read, and progress is reported.
    The parameters are those of :func:`image_set_from_files`.
    """
    return cached_pixels(PictureFiles(files, read, shape, name), version)
