"""CelebA images in two classes."""

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

from repsim_celeba.tables import ATTRIBUTES, PARTITION, read_attribute, read_partition

__all__ = ["celeba"]

IMAGES_FOLDER = "img_align_celeba"
SPLITS = {"train": 0, "test": 2}
"""Split -> its number in the official partition. Number 1, for validation, is not used."""


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
    """Read CelebA's aligned faces (Liu et al., 2015) in two classes, by an attribute.

    Parameters
    ----------
    root : folder with img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt, or its
        parent if it is called ``celeba``, as torchvision does
    attribute : one of the forty, such as Smiling, with the classes not_Smiling and Smiling
    size : height and width in pixels
    crop : side in pixels of the central square that is scaled to ``size``; images are 178x218
    classes : one or both classes, in the order of their labels
    limit : maximum number of images in each split, spread evenly over the classes
    download : let torchvision download missing files from Google Drive

    Raises
    ------
    UsageError
        If files are missing, the attribute does not exist, or a size is below 1.
    FileError
        If a file is damaged.
    """
    if split not in SPLITS:
        raise rs.UnknownNameError.among("split of celeba", split, SPLITS)
    if min(size, crop) < 1:
        raise rs.UsageError(f"celeba got size={size}, crop={crop}, expected pixels, at least 1")
    folder = _folder(Path(root).expanduser(), download)
    labels, partition = read_attribute(folder, attribute), read_partition(folder)
    names = [name for name in labels if _split_of(partition, name, folder) == SPLITS[split]]
    if outside := [name for name in names if Path(name).name != name or name == ".."]:
        raise rs.FileError(
            f"'{folder / ATTRIBUTES}' names '{outside[0]}', expected images in '{IMAGES_FOLDER}'; "
            "get the published file"
        )
    return rs.image_set_from_files(
        [folder / IMAGES_FOLDER / name for name in names],
        [labels[name] for name in names],
        (f"not_{attribute}", attribute),
        f"celeba {attribute}",
        partial(_read, size=size, crop=crop),
        shape=(3, size, size),
        version=f"celeba 1: crop {crop}",
        keep=classes,
        limit=limit,
    )


def _split_of(partition: dict[str, int], name: str, folder: Path) -> int:
    if name not in partition:
        raise rs.FileError(
            f"'{folder / PARTITION}' has no split for '{name}', expected one for every image; "
            "get the file again"
        )
    return partition[name]


def _folder(root: Path, download: bool) -> Path:
    """Return the folder of the files: ``root`` or its subfolder ``celeba``."""
    candidates = (root / "celeba", root)
    for downloaded in (False, True):
        for folder in candidates:
            if (folder / IMAGES_FOLDER).is_dir():
                return folder
        if download and not downloaded:
            _download(root)
    raise rs.UsageError(
        f"no folder '{IMAGES_FOLDER}' in '{root}' or '{candidates[0]}', expected CelebA's files; "
        "unpack them there, or download them with download=true"
    )


def _download(root: Path) -> None:
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            datasets.CelebA(str(root), download=True)
    except Exception as error:  # of the downloader or the network
        reason = " ".join(str(error).split())[:100]
        raise rs.RepsimError(
            f"CelebA cannot be downloaded to '{root}' ({type(error).__name__}: {reason}); "
            "put the files there yourself"
        ) from error


def _read(path: Path, size: int, crop: int) -> NDArray[np.uint8]:
    image = rs.load_rgb(path)
    if min(image.size) < crop:
        raise rs.DataError(
            f"'{path}' is {image.width}x{image.height}, smaller than crop={crop}; "
            "give a smaller crop="
        )
    square = functional.resize(functional.center_crop(image, [crop, crop]), [size, size])
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))
