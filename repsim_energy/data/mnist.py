"""MNIST and the data sets of its format, from their published addresses."""

from __future__ import annotations

from pathlib import Path

import torch

from repsim_energy.data import published
from repsim_energy.data.idx import read_idx
from repsim_energy.data.published import IdxFiles, has_md5
from repsim_energy.data.torchvision_sets import named_failure
from repsim_energy.errors import RepsimError
from repsim_energy.files.downloads import download
from repsim_energy.files.storage import cache_folder
from repsim_energy.interfaces import ImageSet

__all__ = ["fashion_mnist", "kmnist", "mnist"]


def mnist(split: str, *, root: Path | None = None) -> ImageSet:
    """Load MNIST (LeCun et al., 1998): 60,000 and 10,000 gray 28x28 images, 10 digits.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _load(published.MNIST, "mnist", split, root)


def fashion_mnist(split: str, *, root: Path | None = None) -> ImageSet:
    """Load Fashion-MNIST (Xiao et al., 2017): 60,000 and 10,000 gray 28x28 images, 10 classes.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _load(published.FashionMNIST, "fashion_mnist", split, root)


def kmnist(split: str, *, root: Path | None = None) -> ImageSet:
    """Load KMNIST (Clanuwat et al., 2018): 60,000 and 10,000 gray 28x28 images, 10 hiragana.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _load(published.KMNIST, "kmnist", split, root)


def _load(files: IdxFiles, name: str, split: str, root: Path | None) -> ImageSet:
    """Read the files of a split from the place where torchvision stores them."""
    folder = cache_folder("data") if root is None else root
    stem = "train" if split == "train" else "t10k"
    with named_failure(name, folder, "idx:path=..."):
        sums = dict(files.resources)
        images, labels = (
            read_idx(_fetched(files, folder, file, sums[file]), axes)
            for file, axes in (
                (f"{stem}-images-idx3-ubyte.gz", 3),
                (f"{stem}-labels-idx1-ubyte.gz", 1),
            )
        )
    return ImageSet(images[:, None], labels.to(torch.int64), files.classes, name)


def _fetched(files: IdxFiles, folder: Path, file: str, md5: str) -> Path:
    """Return the path of a file, downloaded if it is missing or has another MD5 sum."""
    path = folder / files.folder / "raw" / file
    if has_md5(path, md5):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for mirror in files.mirrors:
        try:
            download(f"{mirror}{file}", path)
        except (OSError, RepsimError) as error:
            reasons.append(str(error))
            continue
        if has_md5(path, md5):
            return path
        reasons.append(f"{mirror}{file} has another MD5 sum than {md5}")
    raise RepsimError(reasons[0])
