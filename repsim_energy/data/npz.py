"""Images from one NumPy ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.errors import DataError, FileError, UsageError
from repsim_energy.interfaces import ImageSet
from repsim_energy.numerics.arrays import tensor_of

__all__ = ["npz"]


def npz(split: str, *, path: Path) -> ImageSet:
    """Return the images of a ``.npz`` file.

    Parameters
    ----------
    path : with ``train_images`` (n, h, w, c) uint8 or float and ``train_labels`` (n,) whole
        numbers, optionally ``test_images``, ``test_labels`` and ``classes`` (names)
    """
    if not path.is_file():
        raise UsageError(f"no file at '{path}', expected a .npz with train_images, train_labels")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _wanted(split, file.files)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(
            f"'{path}' cannot be read as .npz without pickle ({error}); write it anew with "
            "numpy.savez"
        ) from error
    return _image_set(arrays, split, path)


def _wanted(split: str, present: list[str]) -> list[str]:
    return [k for k in (f"{split}_images", f"{split}_labels", "train_images", "train_labels",
                        "classes") if k in present]  # fmt: skip


def _image_set(arrays: dict[str, NDArray[np.generic]], split: str, path: Path) -> ImageSet:
    for key in ("train_images", "train_labels"):
        if key not in arrays:
            raise DataError(
                f"'{path}' has no array '{key}', expected train_images (n, h, w, c) and "
                "train_labels (n,); rename yours"
            )
    images = arrays.get(f"{split}_images", arrays["train_images"][:0])
    labels = arrays.get(f"{split}_labels", arrays["train_labels"][:0])
    if images.ndim != 4 or images.shape[3] > 4 >= images.shape[1]:
        raise DataError(
            f"{split}_images in '{path}' have shape {images.shape}, expected (n, h, w, c); "
            "move the channels last"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{split}_labels in '{path}' are {labels.dtype}, expected whole numbers")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{split}_images in '{path}' are {images.dtype}, expected uint8 or float")
    train_labels = arrays["train_labels"]
    highest = int(train_labels.max()) if len(train_labels) else -1
    names = arrays.get("classes")
    classes = [str(name) for name in names] if names is not None else []
    classes += [str(number) for number in range(len(classes), highest + 1)]
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise DataError(
            f"{split}_labels in '{path}' run from {labels.min()} to {labels.max()}, expected 0 to "
            f"{len(classes) - 1}"
        )
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return ImageSet(
        tensor_of(channels_first),
        torch.from_numpy(labels.astype(np.int64)),
        tuple(classes),
        path.stem,
    )
