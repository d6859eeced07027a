"""Images from a folder with one subfolder per class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.pictures import open_picture
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

    Parameters
    ----------
    path : with ``train`` and ``test`` (or ``val``) folders of classes, or with the classes
        themselves, which are then all for training, or with images without classes
    classes : keep these classes, numbered in this order
    limit : read at most so many images, spread evenly over the classes
    size : height and width in pixels: shorter side resized, centre cropped
    """
    found = list_pictures(path, split)
    numbers = torch.arange(len(found.files)).view(-1, 1, 1, 1)
    labels = torch.tensor(found.labels, dtype=torch.int64)
    chosen = select(
        ImageSet(numbers, labels, found.classes, path.name), classes=classes, limit=limit
    )
    files = [found.files[i] for i in chosen.images.flatten().tolist()]
    if not files and found.example is not None:
        files = [found.example]
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(partial(_read, size=size), files))
    _check_sizes(pictures, files)
    images = torch.stack(pictures)[: len(chosen)]
    return ImageSet(images, chosen.labels, chosen.classes, path.name)


def _read(path: Path, size: int | None) -> Tensor:
    rgb = open_picture(path)
    if size is not None:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _check_sizes(pictures: list[Tensor], files: list[Path]) -> None:
    for picture, file in zip(pictures, files, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"images differ in size: '{files[0]}' is {tuple(pictures[0].shape[1:])}, '{file}' "
                f"{tuple(picture.shape[1:])}; bring them to one with size=, such as size=64"
            )
