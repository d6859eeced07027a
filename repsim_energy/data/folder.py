"""Images from a folder with one subfolder per class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.pictures import DECODER, load_rgb, mapped_images
from repsim_energy.data.selection import select
from repsim_energy.errors import DataError
from repsim_energy.interfaces import ImageSet

__all__ = ["folder"]


def folder(
    split: str,
    *,
    path: Path,
    classes: tuple[str, ...] | None = None,
    limit: int | None = None,
    size: int | None = None,
) -> ImageSet:
    """Return the images of an ImageFolder layout: ``[train|test/]CLASS/IMAGE``.

    Files are read once and mapped from the cache afterwards, until the path, size or time of change
    of one of them, or what was asked for, is another.

    Parameters
    ----------
    path : with ``train`` and ``test`` (or ``val``) folders of classes, or with the classes
        themselves, which are then all for training, or with images without classes
    classes : keep these classes, numbered in this order
    limit : read at most so many images, spread evenly over the classes
    size : height and width in pixels: shorter side resized, center cropped
    """
    found = list_pictures(path, split)
    numbers = torch.arange(len(found.files)).view(-1, 1, 1, 1)
    labels = torch.tensor(found.labels, dtype=torch.int64)
    chosen = select(
        ImageSet(numbers, labels, found.classes, path.name), classes=classes, limit=limit
    )
    files = [found.files[i] for i in chosen.images.flatten().tolist()]
    first = files[0] if files else found.example
    assert first is not None  # a listing without pictures has been refused
    c, h, w = _read(first, size).shape
    shape = (c, h, w)
    read = partial(_read_alike, size=size, first=first, shape=shape)
    images = mapped_images(files, read, shape, f"folder 1: size {size}\n{DECODER}")
    return ImageSet(images, chosen.labels, chosen.classes, path.name)


def _read(path: Path, size: int | None) -> NDArray[np.uint8]:
    rgb = load_rgb(path)
    if size is not None:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def _read_alike(
    path: Path, size: int | None, first: Path, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    pixels = _read(path, size)
    if pixels.shape != shape:
        raise DataError(
            f"images differ in size: '{first}' is {shape[1:]}, '{path}' {pixels.shape[1:]}; bring "
            "them to one with size=, such as size=64"
        )
    return pixels
