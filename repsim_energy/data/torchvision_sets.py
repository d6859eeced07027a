"""CIFAR-10 and CIFAR-100, downloaded by torchvision, which checks their MD5 sums."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from repsim_energy.errors import RepsimError
from repsim_energy.interfaces import ImageSet
from repsim_energy.storage import cache_folder, download

__all__ = ["cifar10", "cifar100"]


def cifar10(split: str, *, root: Path | None = None) -> ImageSet:
    """Load CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 images, 10 classes.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _cifar(datasets.CIFAR10, "cifar10", split, root)


def cifar100(split: str, *, root: Path | None = None) -> ImageSet:
    """Load CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 images, 100 classes.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _cifar(datasets.CIFAR100, "cifar100", split, root)


def _cifar(cls: type[datasets.CIFAR10], name: str, split: str, root: Path | None) -> ImageSet:
    folder = cache_folder("data") if root is None else root
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            loaded = _load(cls, folder, split == "train")
    except (OSError, RuntimeError, RepsimError) as error:
        reason = str(error).splitlines()[0]
        raise RepsimError(
            f"{name} cannot be downloaded to '{folder}' ({reason}); put torchvision's files there, "
            "or give your own with folder:path=... or npz:path=..."
        ) from error
    images = torch.from_numpy(loaded.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(loaded.targets), tuple(loaded.classes), name)


def _load(cls: type[datasets.CIFAR10], folder: Path, train: bool) -> datasets.CIFAR10:
    """Load the files, after a download with progress if they are missing or damaged.

    torchvision unpacks an archive that is there already and has the right MD5 sum. Otherwise it
    would download it and print progress of its own, also into pipes.
    """
    try:
        return cls(str(folder), train=train)
    except RuntimeError:  # missing or damaged
        archive = folder / cls.filename
        if not check_integrity(str(archive), cls.tgz_md5):
            download(cls.url, archive)
        return cls(str(folder), train=train, download=True)
