"""Published files of CIFAR and of MNIST's format: addresses, names and MD5 sums.

torchvision has the same ones. To import it takes as long as to import torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CifarFiles",
    "FashionMNIST",
    "IdxFiles",
    "KMNIST",
    "MNIST",
    "has_md5",
]


class CifarFiles(NamedTuple):
    """Files of a CIFAR data set.

    Parameters
    ----------
    url, filename, tgz_md5 : of the archive
    base_folder : of the files in it
    train_list, test_list : name and MD5 sum of the files of each split
    meta : ``filename`` and ``md5`` of the file of class names, and their ``key`` in it
    """

    url: str
    filename: str
    tgz_md5: str
    base_folder: str
    train_list: tuple[tuple[str, str], ...]
    test_list: tuple[tuple[str, str], ...]
    meta: dict[str, str]


class IdxFiles(NamedTuple):
    """Files of a data set in the format of MNIST.

    Parameters
    ----------
    folder : where torchvision stores them
    mirrors : addresses of their folders
    resources : name and MD5 sum of each file
    classes : names of the labels
    """

    folder: str
    mirrors: tuple[str, ...]
    resources: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]


def has_md5(path: Path, md5: str) -> bool:
    """Return whether a file is there and has an MD5 sum."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    except OSError:
        return False
    return digest.hexdigest() == md5


def _idx(
    folder: str, mirrors: tuple[str, ...], sums: tuple[str, ...], classes: tuple[str, ...]
) -> IdxFiles:
    names = (f"{stem}-{kind}-ubyte.gz" for stem in ("train", "t10k") for kind in KINDS)
    return IdxFiles(folder, mirrors, tuple(zip(names, sums, strict=True)), classes)


KINDS = ("images-idx3", "labels-idx1")

CIFAR10 = CifarFiles(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    filename="cifar-10-python.tar.gz",
    tgz_md5="c58f30108f718f92721af3b95e74349a",
    base_folder="cifar-10-batches-py",
    train_list=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ),
    test_list=(("test_batch", "40351d587109b95175f43aff81a1287e"),),
    meta={
        "filename": "batches.meta",
        "key": "label_names",
        "md5": "5ff9c542aee3614f3951f8cda6e48888",
    },
)

CIFAR100 = CifarFiles(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    filename="cifar-100-python.tar.gz",
    tgz_md5="eb9058c3a382ffc7106e4002c42a8d85",
    base_folder="cifar-100-python",
    train_list=(("train", "16019d7e3df5f24257cddd939b257f8d"),),
    test_list=(("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
    meta={
        "filename": "meta",
        "key": "fine_label_names",
        "md5": "7973b15100ade9c7d40fb424638fde48",
    },
)

MNIST = _idx(
    "MNIST",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    tuple("0123456789"),
)

FashionMNIST = _idx(
    "FashionMNIST",
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    (
        *("T-shirt or top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)

KMNIST = _idx(
    "KMNIST",
    ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
    (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)
