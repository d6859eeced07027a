"""CIFAR-10 and CIFAR-100, from their published addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from repsim_energy.data import published
from repsim_energy.data.cifar_files import Cifar, read_archive, read_folder
from repsim_energy.data.published import CifarFiles
from repsim_energy.errors import FileError, RepsimError
from repsim_energy.files.downloads import download
from repsim_energy.files.storage import cache_folder
from repsim_energy.interfaces import ImageSet

__all__ = ["cifar10", "cifar100", "named_failure", "published_md5"]


def cifar10(split: str, *, root: Path | None = None) -> ImageSet:
    """Load CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 images, 10 classes.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _cifar(published.CIFAR10, "cifar10", split, root)


def cifar100(split: str, *, root: Path | None = None) -> ImageSet:
    """Load CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 images, 100 classes.

    Parameters
    ----------
    root : folder of the files, or for the download; by default the cache
    """
    return _cifar(published.CIFAR100, "cifar100", split, root)


def _cifar(files: CifarFiles, name: str, split: str, root: Path | None) -> ImageSet:
    folder = cache_folder("data") if root is None else root
    with named_failure(name, folder, "folder:path=... or npz:path=..."):
        found = _load(files, folder, split == "train")
    return ImageSet(
        torch.from_numpy(found.images), torch.from_numpy(found.labels), found.classes, name
    )


@contextlib.contextmanager
def named_failure(name: str, folder: Path, own: str) -> Iterator[None]:
    """Raise one line for a data set that cannot be downloaded, with the spec of own files."""
    try:
        yield
    except FileError:  # of a file that is there
        raise
    except (OSError, RuntimeError, RepsimError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RepsimError(
            f"{name} cannot be downloaded to '{folder}' ({reason}); put torchvision's files there, "
            f"or give your own with {own}"
        ) from error


def published_md5() -> dict[str, str]:
    """Return the path of each published file in the cache -> its MD5 sum."""
    sums = {}
    for cifar in (published.CIFAR10, published.CIFAR100):
        sums[cifar.filename] = cifar.tgz_md5
        listed = [*cifar.train_list, *cifar.test_list]
        sums |= {f"{cifar.base_folder}/{name}": md5 for name, md5 in listed}
    for mnist in (published.MNIST, published.FashionMNIST, published.KMNIST):
        sums |= {f"{mnist.folder}/raw/{name}": md5 for name, md5 in mnist.resources}
    return sums


def _load(files: CifarFiles, folder: Path, train: bool) -> Cifar:
    """Read the files, after a download with progress if they are missing or damaged."""
    found = read_folder(files, folder, train) or read_archive(files, folder, train)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        download(files.url, folder / files.filename)
        found = read_archive(files, folder, train)
    if found is None:
        raise RepsimError(f"{files.url} has another MD5 sum than {files.tgz_md5}")
    return found
