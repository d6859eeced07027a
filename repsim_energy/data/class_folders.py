"""Find splits, classes and image files in a folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from repsim_energy.errors import DataError, UsageError, warn
from repsim_energy.progress import Advance, working

__all__ = ["Listing", "list_pictures"]

ENDINGS = (
    *(".jfif", ".jpe", ".jpeg", ".jpg"),
    *(".bmp", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
)
"""Suffixes of the files that are read, in lower case."""

SPLITS = {
    "train": ("train", "training", "trn"),
    "test": ("test", "testing", "tst", "val", "valid", "validation", "dev", "eval"),
}
"""Split -> words for its folder, in any case. Of several test folders, the first word wins."""

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
"""Words ignored in names of split folders such as ``seg_train`` and ``train_images``."""

SYSTEM_NAMES = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
"""Files and folders that operating systems create. They are skipped, as hidden ones are."""

FILES_PER_REPORT = 1000
"""Files of one folder that are counted together."""


@dataclass(frozen=True)
class Listing:
    """Image files of a split.

    Parameters
    ----------
    files, labels : one per image; labels are indices into ``classes``. Files are texts, because
        making paths of many takes longer than finding them
    classes : names of the training classes; empty for images without class folders
    example : a training image, which gives the shape of an empty split
    """

    files: list[str]
    labels: list[int]
    classes: tuple[str, ...]
    example: str


def list_pictures(path: Path, split: str) -> Listing:
    """List the images of a split in ``[train|test/]CLASS/IMAGE`` or ``[train|test/]IMAGE``.

    Both splits are labeled by the training classes.

    Raises
    ------
    UsageError
        If the folder does not exist, or several folders could be the training split.
    DataError
        If there are no images, or the test classes differ from the training classes.

    Warns
    -----
    RepsimWarning
        If folders with other names than ``train`` and ``test`` are used as splits, and with the
        number and kinds of the files that are left out.
    """
    if not os.path.isdir(path):
        raise UsageError(f"no folder at '{path}', expected one with a subfolder per class")
    with working(f"listing {path.name}, {split}", None, "files") as advance:
        folders = _folders(path)
        train, test = _splits(path, folders)
        if split == "train":
            _warn_of_splits(path, train, test, folders)
            return _labeled(train or path, None, advance)
        classes, example = _classes(train or path)
        if test is None:
            return Listing([], [], classes, example)
        return _labeled(test, (classes, example), advance)


def _classes(root: Path) -> tuple[tuple[str, ...], str]:
    """Return the classes of the training folder, and its first image. List no more than needed."""
    classes = [folder for folder in _folders(root) if _has_any(folder)]
    files = _below(classes[0]) if classes else _files(root)
    example = next(filter(_is_read, files), None)
    if example is None:
        raise _nothing_to_read(root)
    return tuple(folder.name for folder in classes), example


def _labeled(root: Path, training: tuple[tuple[str, ...], str] | None, advance: Advance) -> Listing:
    """List a folder by its own classes, or by those of training."""
    below = {folder.name: _below(folder, advance) for folder in _folders(root)}
    pictures = {name: list(filter(_is_read, files)) for name, files in below.items()}
    beside = _files(root)
    advance(len(beside))
    own = tuple(name for name, files in pictures.items() if files)
    classes, example = training or (own, "")
    if classes and own and not set(classes) & set(own):
        raise DataError(
            f"'{root}' has the classes {', '.join(own[:5])}, expected those of training: "
            f"{', '.join(classes[:5])}; rename the folders"
        )
    if classes:
        pairs = [(f, i) for i, name in enumerate(classes) for f in pictures.get(name, ())]
    else:
        pairs = [(file, 0) for file in beside if _is_read(file)]
    files, labels = [file for file, _ in pairs], [label for _, label in pairs]
    if not (files or training):
        raise _nothing_to_read(root)
    every = [*beside, *(file for files in below.values() for file in files)]
    empty = [name for name, files in pictures.items() if not files]
    _warn_of_left_out(root, files, every, classes, empty)
    return Listing(files, labels, classes, example or files[0])


def _nothing_to_read(root: Path) -> DataError:
    kinds = Counter(_kind(file, root, ()) for file in _below(root)).most_common(4)
    others = ", ".join(f"{count} {kind}" for kind, count in kinds)
    return DataError(
        f"'{root}' holds no images in class folders, expected CLASS/IMAGE.png or "
        ".jpg in each" + (f", but {others}; convert them" if others else "")
    )


def _splits(path: Path, folders: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """Return the folders of both splits, or none if ``train`` itself is one of the classes."""
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
    if _has_classes(train[0]):  # test images of contests have no labels
        test = [folder for folder in test if _has_classes(folder)]
    return _inner(train[0]), _inner(test[0]) if test else None


def _split_word(name: str) -> str:
    """Return the name of a folder without fillers and numbers."""
    words = (word.removesuffix("set") for word in re.findall("[a-z]+", name.lower()))
    return " ".join(word for word in words if word and word not in FILLERS)


def _with_pictures(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if _has_any(folder)]


def _inner(folder: Path) -> Path:
    """Return seg_train/seg_train for seg_train, the layout of some archives."""
    inside = _folders(folder)
    return inside[0] if [f.name for f in inside] == [folder.name] else folder


def _has_classes(folder: Path) -> bool:
    return any(_has_any(inside) for inside in _folders(folder))


def _has_pictures(folder: Path) -> bool:
    return any(map(_is_read, _files(folder)))


def _warn_of_splits(
    path: Path, train: Path | None, test: Path | None, folders: Sequence[Path]
) -> None:
    splits = [folder for folder in (train, test) if folder is not None]
    tops = {folder.relative_to(path).parts[0] for folder in splits}
    others = [f.name for f in folders if f.name not in tops] if splits else []
    if tops - {"train", "test"} or others:
        unused = f"; not used: {', '.join(others)}" if others else ""
        warn(
            f"'{path}': training on '{train and train.relative_to(path)}', testing on "
            f"'{test.relative_to(path) if test else 'nothing'}'{unused}"
        )


def _warn_of_left_out(
    root: Path,
    files: Sequence[str],
    every: Sequence[str],
    classes: Sequence[str],
    empty: Sequence[str],
) -> None:
    """Count the files that are not read, by suffix and folder."""
    read = set(files)
    left = [file for file in every if file not in read]
    if classes:  # texts and tables beside class folders are usual
        left = [file for file in left if Path(file).parent != root or _is_read(file)]
    if empty and classes:
        warn(f"'{root}': no images in {', '.join(empty)}, which are not counted as classes")
    if left:
        kinds = Counter(_kind(file, root, classes) for file in left)
        warn(
            f"'{root}': {len(left)} files are left out ("
            + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
            + f"), {len(read)} are read"
        )


def _kind(file: str, root: Path, classes: Sequence[str]) -> str:
    if not _is_read(file):
        return Path(file).suffix.lower() or "without ending"
    parts = Path(file).relative_to(root).parts
    if len(parts) == 1:
        return "beside the class folders"
    return f"in '{parts[0]}', " + ("no training class" if classes else "a folder")


def _is_read(file: str) -> bool:
    return file.lower().endswith(ENDINGS)


def _has_any(folder: Path) -> bool:
    """Return whether there is an image at any depth."""
    return any(_is_read(name) for _, names in _walk(folder) for name in names)


def _below(folder: Path, advance: Advance = lambda _: None) -> list[str]:
    """Return all files at any depth, in the order of their paths."""
    found = []
    for root, names in sorted(_walk(folder)):
        start = _start_of(Path(root))
        for first in range(0, len(names), FILES_PER_REPORT):
            part = names[first : first + FILES_PER_REPORT]
            found += [start + name for name in part]
            advance(len(part))
    return found


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder at any depth with the names of its files, following links."""
    for root, inside, names in os.walk(folder, followlinks=True):
        inside[:] = sorted(name for name in inside if not _is_skipped(name))
        yield root, sorted(name for name in names if not _is_skipped(name))


def _start_of(folder: Path) -> str:
    """Return what the path of a file in a folder begins with, as ``str(folder / name)`` does."""
    return str(folder / "x")[:-1]


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as found:
        names = [one.name for one in found if one.is_dir() and not _is_skipped(one.name)]
    return [folder / name for name in sorted(names)]


def _files(folder: Path) -> list[str]:
    with os.scandir(folder) as found:
        names = [one.name for one in found if not one.is_dir() and not _is_skipped(one.name)]
    start = _start_of(folder)
    return [start + name for name in sorted(names)]


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES
