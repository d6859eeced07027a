"""What lies in a folder of pictures: splits, classes, pictures, and what is none of these."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

from repsim_energy.errors import DataError, RepsimWarning, UsageError

__all__ = ["Listing", "list_pictures"]

ENDINGS = frozenset(
    (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Of the files that are read, in small letters."""

SPLITS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst", "val", "valid", "validation", "dev", "eval"),
}
"""The word in the name of a split's folder, in any case; of several for testing the first."""

FILLERS = frozenset(
    (
        "set",
        "seg",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "picture",
        "pictures",
        "photo",
        "photos",
        "split",
    )
)
"""Words beside it, as in ``seg_train``, ``training_set`` and ``train_images``; so are numbers."""

NOTHING = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
"""What systems leave in folders; so are all hidden ones."""


@dataclass(frozen=True)
class Listing:
    """The pictures of one split.

    Parameters
    ----------
    files, labels : of each picture, the label an index into ``classes``
    classes : the names of the training classes; none, where the pictures lie in no class folders
    example : a picture for training, of the shape that those of an empty split would have
    """

    files: list[Path]
    labels: list[int]
    classes: tuple[str, ...]
    example: Path | None


def list_pictures(path: Path, split: str) -> Listing:
    """Return the pictures of a split of ``[train|test/]CLASS/IMAGE``, or of ``[train|test/]IMAGE``.

    Both splits are labeled by the training classes.

    Raises
    ------
    UsageError
        Where there is no such folder, or several could be the training split.
    DataError
        Where there are no pictures.

    Warns
    -----
    RepsimWarning
        Where other folders than ``train`` and ``test`` are taken for splits, and with the number
        and kinds of what is left out.
    """
    if not path.is_dir():
        raise UsageError(f"no folder at '{path}', expected one with a subfolder per class")
    token = _walked.set({})
    try:
        return _listed(path, split)
    finally:
        _walked.reset(token)


def _listed(path: Path, split: str) -> Listing:
    folders = _folders(path)
    train, test = _splits(path, folders)
    if split == "train":
        _say_splits(path, train, test, folders)
    found = _labeled(train or path)
    if not found.files:
        kinds = Counter(_kind(file, path, ()) for file in _below(train or path)).most_common(4)
        others = ", ".join(f"{count} {kind}" for kind, count in kinds)
        raise DataError(
            f"'{train or path}' holds no images in class folders, expected CLASS/IMAGE.png or "
            ".jpg in each" + (f", but {others}; convert them" if others else "")
        )
    if split == "train":
        _say_left_out(train or path, found)
    elif test is None:
        found = replace(found, files=[], labels=[])
    else:
        found = replace(_labeled(test, found.classes), example=found.example)
        _say_left_out(test, found)
    return found


def _labeled(root: Path, training: tuple[str, ...] | None = None) -> Listing:
    """Return the pictures below a folder, labeled by its own classes or by those of training."""
    folders = {folder.name: _pictures(folder) for folder in _folders(root)}
    classes = tuple(sorted(name for name, files in folders.items() if files))
    if training is not None:
        if training and classes and not set(training) & set(classes):
            raise DataError(
                f"'{root}' has the classes {', '.join(classes[:5])}, expected those of training: "
                f"{', '.join(training[:5])}; rename the folders"
            )
        classes = training
    if not classes:
        files = [file for file in _files(root) if _is_read(file)]
        return Listing(files, [0] * len(files), (), next(iter(files), None))
    pairs = [(f, i) for i, name in enumerate(classes) for f in folders.get(name, ())]
    files = [file for file, _ in pairs]
    return Listing(files, [label for _, label in pairs], classes, next(iter(files), None))


def _splits(path: Path, folders: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """Return the folders of both splits; where classes lie beside it, "train" is one of them."""
    named = {
        split: [f for word in words for f in folders if _split_word(f.name) == word]
        for split, words in SPLITS.items()
    }
    train, test = (_with_pictures(named[split]) for split in ("train", "test"))
    others = [f for f in folders if f not in (*named["train"], *named["test"])]
    if train and not any(_has_classes(f) for f in train) and any(map(_has_pictures, others)):
        return None, None  # such as bus/, car/ and train/
    if len(train) > 1:
        raise UsageError(
            f"'{path}' has {' and '.join(f.name for f in train)}, expected one folder for "
            "training; give the path of one of them, or rename the other"
        )
    if not train:
        return None, None
    if _has_classes(train[0]):  # a test folder without classes, as of a contest, has no labels
        test = [folder for folder in test if _has_classes(folder)]
    return _inner(train[0]), _inner(test[0]) if test else None


def _split_word(name: str) -> str:
    """Return what is left of the name of a folder without fillers and numbers."""
    words = (word.removesuffix("set") for word in re.findall("[a-z]+", name.lower()))
    return " ".join(word for word in words if word and word not in FILLERS)


def _with_pictures(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if _pictures(folder)]


def _inner(folder: Path) -> Path:
    """Return seg_train/seg_train for seg_train, as some archives are packed."""
    inside = _folders(folder)
    return inside[0] if [f.name for f in inside] == [folder.name] else folder


def _has_classes(folder: Path) -> bool:
    return any(_pictures(inside) for inside in _folders(folder))


def _has_pictures(folder: Path) -> bool:
    return any(map(_is_read, _files(folder)))


def _say_splits(path: Path, train: Path | None, test: Path | None, folders: Sequence[Path]) -> None:
    taken = [folder for folder in (train, test) if folder is not None]
    tops = {folder.relative_to(path).parts[0] for folder in taken}
    others = [f.name for f in folders if f.name not in tops] if taken else []
    if tops - {"train", "test"} or others:
        unused = f"; not used: {', '.join(others)}" if others else ""
        warnings.warn(
            f"'{path}': training on '{train and train.relative_to(path)}', testing on "
            f"'{test.relative_to(path) if test else 'nothing'}'{unused}",
            RepsimWarning,
            stacklevel=5,
        )


def _say_left_out(root: Path, found: Listing) -> None:
    """Count what lies there and is not read, by kind and with the classes it would have been of."""
    taken = set(found.files)
    left = [file for file in _below(root) if file not in taken]
    if found.classes:  # beside class folders lie texts and tables
        left = [file for file in left if file.parent != root or _is_read(file)]
    empty = [f.name for f in _folders(root) if not _pictures(f)] if found.classes else []
    if empty:
        warnings.warn(
            f"'{root}': no pictures in {', '.join(empty)}, which are no classes therefore",
            RepsimWarning,
            stacklevel=5,
        )
    if left:
        kinds = Counter(_kind(file, root, found.classes) for file in left)
        warnings.warn(
            f"'{root}': {len(left)} files are left out ("
            + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
            + f"), {len(taken)} are read",
            RepsimWarning,
            stacklevel=5,
        )


def _kind(file: Path, root: Path, classes: Sequence[str]) -> str:
    if not _is_read(file):
        return file.suffix.lower() or "without ending"
    parts = file.relative_to(root).parts
    if len(parts) == 1:
        return "beside the class folders"
    return f"in '{parts[0]}', " + ("no training class" if classes else "a folder")


def _is_read(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS


def _pictures(folder: Path) -> list[Path]:
    return [file for file in _below(folder) if _is_read(file)]


_walked: ContextVar[dict[str, list[Path]]] = ContextVar("walked")
"""Folder -> the files that lie in it, while the pictures of a split are listed."""


def _below(folder: Path) -> list[Path]:
    """Return all files at any depth, in the order of their paths, following links."""
    walked, seen = _walked.get(), []
    for root, inside, names in os.walk(folder, followlinks=True):
        inside[:] = sorted(name for name in inside if not _is_nothing(name))
        seen.append(root)
        if root not in walked:
            walked[root] = [Path(root, name) for name in sorted(names) if not _is_nothing(name)]
    return [file for root in sorted(seen) for file in walked[root]]


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not _is_nothing(p.name))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.is_dir() and not _is_nothing(p.name))


def _is_nothing(name: str) -> bool:
    return name.startswith(".") or name.lower() in NOTHING
