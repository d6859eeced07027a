"""ImageNet images: mapped from the cache, or directly from the files."""

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

from repsim_imagenet.folders import FOLDERS, TEN, Listing, list_images

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
    """Read ImageNet (Deng et al., 2009) from one folder per class, mapped from the cache.

    Parameters
    ----------
    root : folder with ``train`` and ``val``, each with one folder per class, named by WordNet id
    classes : names or WordNet ids, ``all`` for all folders; by default the ten of Imagenette
    size : height and width in pixels of the central crop
    resize : shorter side in pixels before the crop; by default 8/7 of ``size``, 256 for 224
    limit : maximum number of images in each split, spread evenly over the classes

    Raises
    ------
    UsageError
        If a folder or class does not exist, or the cache has no space.
    FileError
        If a file is damaged.
    """
    folder = Path(root).expanduser()
    if split == "test" and not (folder / FOLDERS[split]).is_dir():
        listing = Listing([], [], list_images(folder, "train", classes).classes)
    else:
        listing = list_images(folder, split, classes)
    shorter = _shorter(size, resize)
    return rs.image_set_from_files(
        listing.files,
        listing.labels,
        listing.classes,
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
    batch_size: int = 128,
) -> Iterator[Tensor]:
    """Read batches directly from the files, without a cache.

    Parameters
    ----------
    root, split, classes, size, resize : as in :func:`imagenet`
    batch_size : number of images in a batch

    Yields
    ------
    Batches (n, 3, size, size) uint8, for :func:`repsim_energy.patch_moments`
    """
    listing = list_images(Path(root).expanduser(), split, classes)
    read = partial(_read, size=size, shorter=_shorter(size, resize))
    return rs.iter_image_batches(listing.files, read, batch_size)


def chunks(
    root: str | Path,
    split: str = "train",
    *,
    classes: Sequence[str] = TEN,
    size: int = 224,
    resize: int | None = None,
    chunk_size: int = 256,
) -> list[Callable[[], Tensor]]:
    """Return functions that each read some images, for other processes and machines.

    The functions contain only names of files. On a cluster, ``root`` must be the same everywhere.

    Parameters
    ----------
    root, split, classes, size, resize : as in :func:`imagenet`
    chunk_size : number of images per function

    Returns
    -------
    Functions without arguments that return (n, 3, size, size) uint8, for
    :func:`repsim_energy.patch_moments_of_chunks`
    """
    if chunk_size < 1:
        raise rs.UsageError(f"got chunk_size={chunk_size}, expected images, at least 1")
    files = list_images(Path(root).expanduser().absolute(), split, classes).files
    read = partial(_read, size=size, shorter=_shorter(size, resize))
    return [
        partial(_stack, files[start : start + chunk_size], read)
        for start in range(0, len(files), chunk_size)
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
    crop = functional.center_crop(scaled, [size, size])
    return np.ascontiguousarray(np.asarray(crop).transpose(2, 0, 1))
