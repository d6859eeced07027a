"""Images from a folder with one subfolder per class."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from repsim_energy.data.pictures import open_picture
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import DataError, UsageError
from repsim_energy.interfaces import ImageSet

__all__ = ["folder"]

TEST_NAMES = ("test", "val", "valid", "validation")


def folder(
    split: str, *, path: Path, size: int | None = None, limit: int | None = None
) -> ImageSet:
    """Return the images of an ImageFolder layout: ``[train|test/]CLASS/IMAGE``.

    Parameters
    ----------
    path : with ``train`` and ``test`` (or ``val``) folders of classes, or with the classes
        themselves, which are then all for training
    size : height and width in pixels: shorter side resized, centre cropped
    limit : read at most so many images, spread evenly over the classes
    """
    root = _split_folder(path, split)
    if root is None:
        train = folder("train", path=path, size=size, limit=1)
        return ImageSet(train.images[:0], train.labels[:0], train.classes, train.name)
    try:
        classes, index = find_classes(str(root))
        files = make_dataset(str(root), index, extensions=IMG_EXTENSIONS)
    except FileNotFoundError as error:
        raise DataError(
            f"'{root}' holds no images in class folders, expected CLASS/IMAGE.png or .jpg in each"
        ) from error
    labels = torch.tensor([label for _, label in files])
    chosen = balanced_prefix(labels, limit).tolist()
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(partial(_read, size=size), [Path(files[i][0]) for i in chosen]))
    _check_sizes(pictures, [files[i][0] for i in chosen])
    return ImageSet(torch.stack(pictures), labels[chosen], tuple(classes), path.name)


def _split_folder(path: Path, split: str) -> Path | None:
    if not path.is_dir():
        raise UsageError(f"no folder at '{path}', expected one with a subfolder per class")
    names = ("train",) if split == "train" else TEST_NAMES
    found = [path / name for name in names if (path / name).is_dir()]
    if found:
        return found[0]
    return path if split == "train" else None


def _read(path: Path, size: int | None) -> Tensor:
    rgb = open_picture(path)
    if size is not None:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _check_sizes(pictures: list[Tensor], files: list[str]) -> None:
    for picture, file in zip(pictures, files, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"images differ in size: '{files[0]}' is {tuple(pictures[0].shape[1:])}, '{file}' "
                f"{tuple(picture.shape[1:])}; bring them to one with size=, such as size=64"
            )
