"""List the images of ImageNet: train and val, each with class folders named by WordNet ids."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from repsim_energy import DataError, UnknownNameError, UsageError
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.models import ResNet18_Weights

__all__ = ["ALL", "FOLDERS", "TEN", "Listing", "list_images"]

FOLDERS = {"train": "train", "test": "val"}
"""Split -> its folder."""

ALL = "all"

TEN = (
    "tench",
    "English_springer",
    "cassette_player",
    "chain_saw",
    "church",
    "French_horn",
    "garbage_truck",
    "gas_pump",
    "golf_ball",
    "parachute",
)
"""The classes of Imagenette, which are easy to distinguish, as users type them."""

WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Listing:
    """Image files, their labels (indices into ``classes``) and the names of the classes."""

    files: Sequence[Path]
    labels: Sequence[int]
    classes: Sequence[str]


@cache
def names() -> dict[str, str]:
    """Return WordNet id -> torchvision's name, for the thousand classes of ILSVRC2012."""
    wnids = (files(__package__) / "wnids.txt").read_text(encoding="utf-8").split()
    return dict(zip(wnids, ResNet18_Weights.IMAGENET1K_V1.meta["categories"], strict=True))


def list_images(root: Path, split: str, classes: Sequence[str]) -> Listing:
    """List the images of some classes, sorted by class and file name.

    Parameters
    ----------
    root : folder with ``train`` and, for the test split, ``val``
    classes : names or WordNet ids, numbered in this order; ``["all"]`` for all folders, in the
        order of their ids

    Raises
    ------
    UsageError
        If a folder or class does not exist.
    DataError
        If a class has no images.
    """
    folder = _folder(root, split)
    present = sorted(entry.name for entry in os.scandir(folder) if WNID.fullmatch(entry.name))
    if not present:
        raise UsageError(
            f"'{folder}' has no folders named by WordNet ids, expected such as n01440764; sort its "
            "images into one folder per class"
        )
    wanted = present if tuple(classes) == (ALL,) else _wnids(classes, present, folder)
    images = [_images_in(folder / wnid) for wnid in wanted]
    return Listing(
        [path for paths in images for path in paths],
        [number for number, paths in enumerate(images) for _ in paths],
        [names().get(wnid, wnid) for wnid in wanted],
    )


def _folder(root: Path, split: str) -> Path:
    if split not in FOLDERS:
        raise UnknownNameError.among("split of imagenet", split, FOLDERS)
    folder = root / FOLDERS[split]
    if not folder.is_dir():
        raise UsageError(
            f"no folder at '{folder}', expected a folder per class in train and val of '{root}'; "
            "give the folder above them as root="
        )
    return folder


def _wnids(classes: Sequence[str], present: Collection[str], folder: Path) -> list[str]:
    known = {_normalized(name): wnid for wnid, name in names().items()}
    # Exact spelling first: a cardigan is a garment, a Cardigan is a dog.
    known |= {name: wnid for wnid, name in names().items()}
    known |= {wnid: wnid for wnid in present}
    wanted = []
    for name in classes:
        wnid = known.get(name) or known.get(_normalized(name))
        if wnid is None:
            raise UnknownNameError.among(
                "class", name, [names().get(wnid, wnid) for wnid in present]
            )
        if wnid not in present:
            raise UsageError(
                f"class '{name}' has no folder '{wnid}' in '{folder}', expected one; choose "
                f"classes= of the {len(present)} that are there, or classes={ALL}"
            )
        if wnid in wanted:
            raise UsageError(f"class '{name}' is given twice in classes=, expected it once")
        wanted.append(wnid)
    return wanted


def _normalized(name: str) -> str:
    return name.replace("_", " ").lower()


def _images_in(folder: Path) -> list[Path]:
    paths = [
        folder / entry.name
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(IMG_EXTENSIONS) and not entry.name.startswith(".")
    ]
    if not paths:
        raise DataError(
            f"'{folder}' has no images ({', '.join(IMG_EXTENSIONS)}), expected those of its "
            "class; fill it, or leave the class out with classes="
        )
    return sorted(paths)
