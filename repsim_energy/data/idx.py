"""Images in IDX files, the format of MNIST."""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import torch
from torch import Tensor

from repsim_energy.errors import DataError, FileError, UsageError
from repsim_energy.files.archives import unpacked
from repsim_energy.interfaces import ImageSet

__all__ = ["idx", "read_idx"]

Split = tuple[Tensor, Tensor]
"""Images (n, 1, h, w) uint8 and labels (n,) int64."""

STEMS = {"train": "train", "test": "t10k"}
"""Split -> how the names of its files begin."""

GZIP = b"\x1f\x8b"
"""First bytes of a compressed file."""

BYTES_CODE = 0x08
"""Third byte of a file whose numbers are unsigned bytes."""


def idx(split: str, *, path: Path, train: int | None = None) -> ImageSet:
    """Read gray images and labels from the IDX files of a folder, the format of MNIST.

    Parameters
    ----------
    path : folder with ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, or one of these pairs; ``.gz``
        may follow
    train : number of training images, for a folder with one pair of files: its first images are
        for training, the others for tests. Needed if there are t10k files only. With train files
        only, all images are for training by default
    """
    if not os.path.isdir(path):
        raise UsageError(f"no folder at '{path}', expected one with {_name('train', 'images')}")
    pairs = {key: _pair(path, stem) for key, stem in STEMS.items()}
    splits = {key: _read_pair(*files) for key, files in pairs.items() if files}
    if not splits:
        raise UsageError(
            f"'{path}' has no IDX files, expected {_name('train', 'images')} and "
            f"{_name('train', 'labels')}, or t10k-..., each with or without .gz"
        )
    classes = _classes([labels for _, labels in splits.values()])
    images, labels = _divided(splits, path, train)[split]
    return ImageSet(images, labels, classes, path.resolve().name)


def _name(stem: str, kind: str) -> str:
    return f"{stem}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"


def _pair(folder: Path, stem: str) -> tuple[Path, Path] | None:
    """Return the files of images and labels of a split, or None if both are missing."""
    found = {kind: _file(folder, _name(stem, kind)) for kind in ("images", "labels")}
    images, labels = found["images"], found["labels"]
    if images and labels:
        return images, labels
    if images is None and labels is None:
        return None
    missing = _name(stem, "labels" if images else "images")
    raise UsageError(
        f"'{folder}' has {'images' if images else 'labels'} of {stem} but no '{missing}', expected "
        "both files; put it there"
    )


def _file(folder: Path, name: str) -> Path | None:
    """Return the file of a name, uncompressed if there are both."""
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if os.path.isfile(path)), None)


def _read_pair(images_path: Path, labels_path: Path) -> Split:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"'{images_path}' has {len(images)} images but '{labels_path.name}' {len(labels)} "
            "labels, expected one label per image; are these files of one split?"
        )
    return images[:, None], labels.long()


def read_idx(path: Path, axes: int) -> Tensor:
    """Return the numbers of an IDX file of unsigned bytes, which may be compressed by gzip.

    The file begins with two zero bytes, the code of the type (8) and the number of axes. The length
    of each axis follows as a big-endian integer of four bytes, then the numbers.

    Parameters
    ----------
    path : of the file
    axes : 3 for images (n, h, w), 1 for labels (n,)

    Returns
    -------
    uint8 tensor with this number of axes

    Raises
    ------
    FileError
        If the file cannot be read, is truncated, longer than its header says, or holds something
        else.
    """
    content = _content(path)
    header = 4 + 4 * axes
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FileError(f"'{path}' is not an IDX file, expected one of {_kind(axes)}; replace it")
    code, got = content[2], content[3]
    if (code, got) != (BYTES_CODE, axes):
        held = _kind(got) if code == BYTES_CODE else f"numbers of type 0x{code:02x}"
        raise FileError(
            f"'{path}' holds {held} (magic number {int.from_bytes(content[:4])}), expected "
            f"{_kind(axes)} ({256 * BYTES_CODE + axes}); is it another file under this name?"
        )
    sizes = [int.from_bytes(content[at : at + 4]) for at in range(4, header, 4)]
    if len(content) < header or len(content) - header != math.prod(sizes):
        raise FileError(
            f"'{path}' has {len(content)} bytes, expected {header + math.prod(sizes)} for "
            f"{'x'.join(map(str, sizes))} {_kind(axes)}; copy or download it again"
        )
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8).view(sizes)


def _kind(axes: int) -> str:
    return {1: "labels", 3: "images"}.get(axes, f"arrays with {axes} axes")


def _content(path: Path) -> bytes:
    """Return the bytes of a file, decompressed whatever its name is."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            return unpacked(file, path).getvalue() if packed else file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"'{path}' cannot be read ({error}); copy or download it again") from error


def _classes(labels: list[Tensor]) -> tuple[str, ...]:
    """Return the numbers of all classes as names."""
    highest = max((int(part.max()) for part in labels if len(part)), default=0)
    return tuple(map(str, range(highest + 1)))


def _divided(splits: dict[str, Split], folder: Path, train: int | None) -> dict[str, Split]:
    """Return both splits of a folder, with ``train`` images for training."""
    if len(splits) == 2:
        if train is not None:
            raise UsageError(
                f"'{folder}' has files of both splits, got train={train}, expected no option; use "
                "limit= for fewer images"
            )
        return splits
    ((key, (images, labels)),) = splits.items()
    if train is None and key == "test":
        raise UsageError(
            f"'{folder}' has t10k files only, {len(images)} images, expected the number of those "
            f"to train on; add train={len(images) * 4 // 5}, the others are for tests, or "
            f"train={len(images)} for none"
        )
    count = len(images) if train is None else train
    if not 1 <= count <= len(images):
        raise UsageError(
            f"got train={count}, expected 1 to {len(images)}, the number of images in '{folder}'"
        )
    return {
        "train": (images[:count], labels[:count]),
        "test": (images[count:], labels[count:]),
    }
