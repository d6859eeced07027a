"""ImageNet's pictures: as a set that is mapped from the cache, or straight from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import repsim_energy as rs
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import functional

from repsim_imagenet.folders import FOLDERS, TEN, Pictures, find_pictures

__all__ = ["batches", "chunks", "imagenet"]


def imagenet(
    split: str,
    *,
    root: Path,
    classes: tuple[str, ...] = TEN,
    size: int = 224,
    resize: int | None = None,
    limit: int | None = None,
) -> rs.ImageSet:
    """Return ImageNet images (Deng et al., 2009) from a folder per class, mapped from the cache.

    Parameters
    ----------
    root : the folder with ``train`` and ``val``, in each a folder per class, named by WordNet id
    classes : names or WordNet ids, ``all`` for all there are; by default the ten of Imagenette
    size : height and width of the middle that is cut out, in pixels
    resize : the shorter side before that; by default 8/7 of ``size``, 256 for 224
    limit : at most so many images of each split, spread evenly over the classes

    Raises
    ------
    UsageError
        For folders or classes that there are not, and where the cache has no room.
    FileError
        For a damaged file, by its name.
    """
    folder = Path(root).expanduser()
    if split == "test" and not (folder / FOLDERS[split]).is_dir():
        found = Pictures([], [], find_pictures(folder, "train", classes).classes)
    else:
        found = find_pictures(folder, split, classes)
    shorter = _shorter(size, resize)
    return rs.image_set_from_files(
        found.files,
        found.labels,
        found.classes,
        "imagenet",
        partial(_read, size=size, shorter=shorter),
        shape=(3, size, size),
        version=f"imagenet 1: shorter side {shorter}",
        limit=limit,
    )


def batches(
    root: str | Path,
    split: str = "train",
    *,
    classes: Sequence[str] = TEN,
    size: int = 224,
    resize: int | None = None,
    at_once: int = 128,
) -> Iterator[Tensor]:
    """Yield images straight from the files: nothing is kept, in memory or on the disk.

    Parameters
    ----------
    root, split, classes, size, resize : as of :func:`imagenet`
    at_once : images in a batch

    Returns
    -------
    Batches (n, 3, size, size) uint8, for :func:`repsim_energy.patch_moments`
    """
    found = find_pictures(Path(root).expanduser(), split, classes)
    read = partial(_read, size=size, shorter=_shorter(size, resize))
    return rs.iter_image_batches(found.files, read, at_once)


def chunks(
    root: str | Path,
    split: str = "train",
    *,
    classes: Sequence[str] = TEN,
    size: int = 224,
    resize: int | None = None,
    at_once: int = 256,
) -> list[Callable[[], Tensor]]:
    """Return functions that each read some images, for other processes and machines to call.

    They hold the names of files only. On a cluster, ``root`` has to be the same everywhere.

    Parameters
    ----------
    root, split, classes, size, resize : as of :func:`imagenet`
    at_once : images that a function reads

    Returns
    -------
    Functions without arguments that return (n, 3, size, size) uint8, for
    :func:`repsim_energy.patch_moments_of_chunks`
    """
    if at_once < 1:
        raise rs.UsageError(f"got {at_once} images at once, expected at least 1")
    files = find_pictures(Path(root).expanduser().absolute(), split, classes).files
    read = partial(_read, size=size, shorter=_shorter(size, resize))
    return [
        partial(_stack, files[start : start + at_once], read)
        for start in range(0, len(files), at_once)
    ]


def _stack(files: Sequence[Path], read: Callable[[Path], NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack([read(file) for file in files]))


def _shorter(size: int, resize: int | None) -> int:
    shorter = round(size * 256 / 224) if resize is None else resize
    if not 1 <= size <= shorter:
        raise rs.UsageError(
            f"imagenet got size={size}, resize={shorter}, expected 1 <= size <= resize pixels"
        )
    return shorter


def _read(path: Path, size: int, shorter: int) -> NDArray[np.uint8]:
    scaled = functional.resize(rs.load_rgb(path), [shorter])
    middle = functional.center_crop(scaled, [size, size])
    return np.ascontiguousarray(np.asarray(middle).transpose(2, 0, 1))
