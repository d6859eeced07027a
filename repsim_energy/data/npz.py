"""Images from a NumPy ``.npz`` file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repsim_energy.data.arrays import image_set_of
from repsim_energy.errors import DataError, UsageError
from repsim_energy.files.array_files import read_npz
from repsim_energy.interfaces import ImageSet

__all__ = ["npz"]

KEYS = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "test": (("test_images", "test_labels"), ("x_test", "y_test"), ("val_images", "val_labels")),
}
"""Split -> possible names of images and labels; the first pair in the file is used."""


def npz(split: str, *, path: Path) -> ImageSet:
    """Read images and labels from a ``.npz`` file.

    Parameters
    ----------
    path : file with ``train_images`` (n, h, w, c), (n, c, h, w) or (n, h, w), uint8 or float, and
        ``train_labels`` (n,), (n, 1) or one-hot; optionally ``test_images`` and ``test_labels``
        (or ``val_...``), and ``classes`` (names). ``x_train``, ``y_train``, ``x_test`` and
        ``y_test`` are also recognized
    """
    if not os.path.isfile(path):
        raise UsageError(f"no file at '{path}', expected a .npz with train_images, train_labels")
    keys: dict[str, tuple[str, str] | None] = {}

    def wanted(names: list[str]) -> list[str]:
        keys.update({s: _keys(s, names) for s in KEYS})
        chosen = {"classes", *(keys["train"] or ()), *(keys[split] or ())}
        return [name for name in names if name in chosen]

    arrays = read_npz(path, "save it again with numpy.savez", wanted)
    return _image_set(arrays, split, keys, path)


def _keys(split: str, present: list[str]) -> tuple[str, str] | None:
    return next((pair for pair in KEYS[split] if pair[0] in present), None)


def _image_set(
    arrays: dict[str, NDArray[np.generic]],
    split: str,
    keys: dict[str, tuple[str, str] | None],
    path: Path,
) -> ImageSet:
    images, labels = of_train = keys["train"] or KEYS["train"][0]
    for key in of_train:
        if key not in arrays:
            raise DataError(
                f"'{path}' has no array '{key}', expected train_images (n, h, w, c) and "
                "train_labels (n,); rename yours"
            )
    names = tuple(str(name) for name in arrays.get("classes", ()))
    where = f"{images} in {path}"
    train = image_set_of(arrays[images], arrays[labels], name=where, classes=names)
    _check_labels(train, labels, path, len(train.classes))
    own = keys[split]
    if split == "train" or own is None:
        result = train if split == "train" else _empty(train)
    elif own[1] not in arrays:
        raise DataError(f"'{path}' has '{own[0]}' but no '{own[1]}', expected both")
    else:
        where = f"{own[0]} in {path}"
        result = image_set_of(arrays[own[0]], arrays[own[1]], name=where, classes=train.classes)
        _check_labels(result, own[1], path, len(train.classes))
    return replace(result, name=path.stem)


def _empty(images: ImageSet) -> ImageSet:
    return replace(images, images=images.images[:0], labels=images.labels[:0])


def _check_labels(images: ImageSet, key: str, path: Path, count: int) -> None:
    labels = images.labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < count:
        raise DataError(
            f"{key} in '{path}' run from {labels.min()} to {labels.max()}, expected 0 to "
            f"{count - 1}"
        )
