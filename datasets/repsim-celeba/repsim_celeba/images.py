"""CelebA's pictures in two classes."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path

import numpy as np
import repsim_energy as rs
from numpy.typing import NDArray
from torchvision import datasets
from torchvision.transforms import functional

from repsim_celeba.tables import PARTITION, read_attribute, read_partition

__all__ = ["celeba"]

PICTURES = "img_align_celeba"
SPLITS = {"train": 0, "test": 2}
"""Split -> its number in the official partition; 1 is for validation and not used."""


def celeba(
    split: str,
    *,
    root: Path,
    attribute: str,
    size: int = 64,
    crop: int = 178,
    classes: tuple[str, ...] | None = None,
    limit: int | None = None,
    download: bool = False,
) -> rs.ImageSet:
    """Return CelebA's aligned faces (Liu et al., 2015) in two classes, by an attribute.

    Parameters
    ----------
    root : the folder with img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt, or
        the one above its folder ``celeba``, as torchvision has it
    attribute : one of the forty, such as Smiling; the classes are then not_Smiling and Smiling
    size : height and width in pixels
    crop : side of the square in the middle that is scaled to ``size``; a picture is 178x218
    classes : their order, or one of them
    limit : at most so many images of each split, spread evenly over the classes
    download : where the files are not there, have torchvision fetch them from Google Drive

    Raises
    ------
    UsageError
        For files that are not there, an attribute that there is not, sizes below 1.
    FileError
        For a damaged file, by its name.
    """
    if split not in SPLITS:
        raise rs.UnknownNameError.among("split of celeba", split, SPLITS)
    if min(size, crop) < 1:
        raise rs.UsageError(f"celeba got size={size}, crop={crop}, expected pixels, at least 1")
    folder = _folder(Path(root).expanduser(), download)
    has_it, partition = read_attribute(folder, attribute), read_partition(folder)
    names = [name for name in has_it if _of(partition, name, folder) == SPLITS[split]]
    return rs.image_set_from_files(
        [folder / PICTURES / name for name in names],
        [has_it[name] for name in names],
        (f"not_{attribute}", attribute),
        f"celeba {attribute}",
        partial(_read, size=size, crop=crop),
        shape=(3, size, size),
        version=f"celeba 1: crop {crop}",
        keep=classes,
        limit=limit,
    )


def _of(partition: dict[str, int], name: str, folder: Path) -> int:
    if name not in partition:
        raise rs.FileError(
            f"'{folder / PARTITION}' has no split for '{name}', expected one for every picture; "
            "take the file anew"
        )
    return partition[name]


def _folder(root: Path, download: bool) -> Path:
    """Return where the files are: in ``root`` itself or in its folder ``celeba``."""
    places = (root / "celeba", root)
    for fetched in (False, True):
        for folder in places:
            if (folder / PICTURES).is_dir():
                return folder
        if download and not fetched:
            _download(root)
    raise rs.UsageError(
        f"no folder '{PICTURES}' in '{root}' or '{places[0]}', expected CelebA's files; unpack "
        "them there, or fetch them with download=true"
    )


def _download(root: Path) -> None:
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            datasets.CelebA(str(root), download=True)
    except Exception as error:  # whatever the downloader and the network raise
        reason = " ".join(str(error).split())[:100]
        raise rs.RepsimError(
            f"CelebA cannot be downloaded to '{root}' ({type(error).__name__}: {reason}); "
            "put the files there yourself"
        ) from error


def _read(path: Path, size: int, crop: int) -> NDArray[np.uint8]:
    picture = rs.load_rgb(path)
    if min(picture.size) < crop:
        raise rs.DataError(
            f"'{path}' is {picture.width}x{picture.height}, smaller than crop={crop}; "
            "give a smaller crop="
        )
    square = functional.resize(functional.center_crop(picture, [crop, crop]), [size, size])
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
