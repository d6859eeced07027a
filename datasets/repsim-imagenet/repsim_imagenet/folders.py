"""ImageNet as it is unpacked: a folder per class, named by its WordNet id, in train and val."""

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

__all__ = ["ALL", "FOLDERS", "TEN", "Pictures", "find_pictures"]

FOLDERS = {"train": "train", "test": "val"}
"""Split -> the folder that holds it."""

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
"""The classes of Imagenette, which are easy to tell apart; as users type them."""

WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Pictures:
    """Picture files, for each an index into the names of the classes."""

    files: Sequence[Path]
    labels: Sequence[int]
    classes: Sequence[str]


@cache
def names() -> dict[str, str]:
    """Return WordNet id -> name of the thousand classes of ILSVRC2012, named as by torchvision."""
    wnids = (files(__package__) / "wnids.txt").read_text(encoding="utf-8").split()
    return dict(zip(wnids, ResNet18_Weights.IMAGENET1K_V1.meta["categories"], strict=True))


def find_pictures(root: Path, split: str, classes: Sequence[str]) -> Pictures:
    """Return the pictures of some classes, class after class, each in the order of its files.

    Parameters
    ----------
    root : with ``train`` and, for the test split, ``val``
    classes : names or WordNet ids, numbered in this order; ``["all"]`` for all there are, in the
        order of their ids

    Raises
    ------
    UsageError
        For folders or classes that there are not.
    DataError
        For a class without pictures.
    """
    folder = _folder(root, split)
    present = sorted(entry.name for entry in os.scandir(folder) if WNID.fullmatch(entry.name))
    if not present:
        raise UsageError(
            f"'{folder}' has no folders named by WordNet ids, expected such as n01440764; sort its "
            "images into one folder per class"
        )
    wanted = present if tuple(classes) == (ALL,) else _wnids(classes, present, folder)
    found = [_images_in(folder / wnid) for wnid in wanted]
    return Pictures(
        [path for paths in found for path in paths],
        [number for number, paths in enumerate(found) for _ in paths],
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
    known = {_folded(name): wnid for wnid, name in names().items()}
    known |= {name: wnid for wnid, name in names().items()}  # a cardigan is no Cardigan
    known |= {wnid: wnid for wnid in present}
    wanted = []
    for name in classes:
        wnid = known.get(name) or known.get(_folded(name))
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
            raise UsageError(f"class '{name}' stands twice in classes=, expected it once")
        wanted.append(wnid)
    return wanted


def _folded(name: str) -> str:
    return name.replace("_", " ").lower()


def _images_in(folder: Path) -> list[Path]:
    paths = [
        folder / entry.name
        for entry in os.scandir(folder)
        if entry.name.lower().endswith(IMG_EXTENSIONS) and not entry.name.startswith(".")
    ]
    if not paths:
        raise DataError(
            f"'{folder}' holds no images ({', '.join(IMG_EXTENSIONS)}), expected those of its "
            "class; fill it, or leave the class out with classes="
        )
    return sorted(paths)
