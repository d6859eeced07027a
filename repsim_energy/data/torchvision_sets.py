"""CIFAR-10 and CIFAR-100, downloaded by torchvision, which checks their MD5 sums."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from repsim_energy.errors import RepsimError
from repsim_energy.interfaces import ImageSet
from repsim_energy.storage import cache_folder, download

__all__ = ["cifar10", "cifar100", "named_failure", "published_md5"]


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
    with (
        named_failure(name, folder, "folder:path=... or npz:path=..."),
        open(os.devnull, "w") as null,
        contextlib.redirect_stdout(null),
    ):
        loaded = _load(cls, folder, split == "train")
    images = torch.from_numpy(loaded.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(loaded.targets), tuple(loaded.classes), name)


@contextlib.contextmanager
def named_failure(name: str, folder: Path, own: str) -> Iterator[None]:
    """Raise one line for a data set that cannot be downloaded, with the spec of own files."""
    try:
        yield
    except (OSError, RuntimeError, RepsimError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RepsimError(
            f"{name} cannot be downloaded to '{folder}' ({reason}); put torchvision's files there, "
            f"or give your own with {own}"
        ) from error


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


def published_md5() -> dict[str, str]:
    """Return the path of each file that torchvision downloads here -> its MD5 sum."""
    sums = {}
    for cifar in (datasets.CIFAR10, datasets.CIFAR100):
        sums[cifar.filename] = cifar.tgz_md5
        listed = [*cifar.train_list, *cifar.test_list]
        sums |= {f"{cifar.base_folder}/{name}": md5 for name, md5 in listed}
    for mnist in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        sums |= {f"{mnist.__name__}/raw/{name}": md5 for name, md5 in mnist.resources}
    return sums
