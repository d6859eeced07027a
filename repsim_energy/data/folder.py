"""Images from a folder with one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import torch

from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.decoding import DECODER, ReadAlike, read_rgb
from repsim_energy.data.pictures import mapped_images
from repsim_energy.data.selection import select
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
    """Read images from folders in the layout of ImageFolder: ``[train|test/]CLASS/IMAGE``.

    The files are decoded once and then mapped from the cache. They are decoded again after a change
    of the options, or of the path, size or modification time of a file.

    Parameters
    ----------
    path : folder with ``train`` and ``test`` (or ``val``) folders of class folders; or with class
        folders, all of them for training; or with images without classes
    classes : classes to read, numbered in this order
    limit : maximum number of images to read, spread evenly over the classes
    size : new height and width in pixels; the shorter side is resized, then the center is cropped
    """
    listing = list_pictures(path, split)
    numbers = torch.arange(len(listing.files)).view(-1, 1, 1, 1)
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    selected = select(
        ImageSet(numbers, labels, listing.classes, path.name), classes=classes, limit=limit
    )
    files = [listing.files[i] for i in selected.images.flatten().tolist()]
    first = files[0] if files else listing.example
    c, h, w = read_rgb(first, size).shape
    read = ReadAlike(size, first, (c, h, w))
    version = f"folder 1: size {size}\n{DECODER}"
    images = mapped_images(files, read, read.shape, version, path.name)
    return ImageSet(images, selected.labels, selected.classes, path.name)
