"""The files of CIFAR-10 and CIFAR-100: pickles, read without what they could call."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from repsim_energy.data.published import CifarFiles
from repsim_energy.errors import FileError, RepsimError, reason_of
from repsim_energy.files.storage import atomic_path

__all__ = ["Cifar", "read_archive", "read_folder"]

PIXELS = (3, 32, 32)
"""Channels, rows and columns of an image."""


class Cifar(NamedTuple):
    """Images (n, 3, 32, 32) uint8, labels (n,) int64, and the names of the classes."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def read_folder(known: CifarFiles, folder: Path, train: bool) -> Cifar | None:
    """Return a split from the files that torchvision or :func:`read_archive` stored in a folder.

    Returns
    -------
    Cifar or None
        ``None`` if a file is missing, or has another MD5 sum than the published one.

    Raises
    ------
    FileError
        If a file is a pickle of something else than images, labels and names.
    """
    contents = {}
    for name, md5 in _sums(known, train).items():
        path = folder / known.base_folder / name
        contents[name] = path.read_bytes() if os.path.isfile(path) else b""
        if not _is_published(contents[name], md5):
            return None
    return _split(known, contents)


def read_archive(known: CifarFiles, folder: Path, train: bool) -> Cifar | None:
    """Return a split from the archive in a folder, and store its files for the next time.

    The archive is read in memory. Of its members only those with known names and MD5 sums are
    used, and stored under these names.

    Returns
    -------
    Cifar or None
        ``None`` if the archive is missing, or has another MD5 sum than the published one.

    Raises
    ------
    FileError
        If a file is missing in the archive, or as for :func:`read_folder`.
    """
    path = folder / known.filename
    archive = path.read_bytes() if os.path.isfile(path) else b""
    if not _is_published(archive, known.tgz_md5):
        return None
    sums = _sums(known, True) | _sums(known, False)
    contents = {
        n: c for n, c in _members(archive, known, path).items() if _is_published(c, sums[n])
    }
    if missing := sums.keys() - contents.keys():
        raise FileError(
            f"'{path}' has no '{min(missing)}' as it was published, expected all files of the data "
            "set; delete it, to download it again"
        )
    found = _split(known, {name: contents[name] for name in _sums(known, train)})
    with contextlib.suppress(OSError, RepsimError):  # a folder that cannot be written: unpack again
        (folder / known.base_folder).mkdir(exist_ok=True)
        for name, content in contents.items():
            with atomic_path(folder / known.base_folder / name) as temporary:
                temporary.write_bytes(content)
    return found


def _sums(known: CifarFiles, train: bool) -> dict[str, str]:
    """Return the names of the files of a split, and their MD5 sums."""
    batches = dict(known.train_list if train else known.test_list)
    return batches | {known.meta["filename"]: known.meta["md5"]}


def _is_published(content: bytes, md5: str) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


def _members(archive: bytes, known: CifarFiles, path: Path) -> dict[str, bytes]:
    """Return the files of an archive that have names of the data set, without its links."""
    names = {
        f"{known.base_folder}/{name}": name for name in _sums(known, True) | _sums(known, False)
    }
    contents = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            for member in opened:
                part = opened.extractfile(member) if member.isreg() else None
                if part is not None and member.name in names:
                    contents[names[member.name]] = part.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise FileError(
            f"'{path}' is damaged ({reason_of(error)}), expected a .tar.gz; delete it, to download "
            "it again"
        ) from error
    return contents


def _split(known: CifarFiles, contents: Mapping[str, bytes]) -> Cifar:
    """Return the images of all batches, and the names of the classes."""
    values = {name: _unpickled(content, name) for name, content in contents.items()}
    classes = values.pop(known.meta["filename"]).get(known.meta["key"])
    if not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise FileError(f"'{known.meta['filename']}' names no classes, expected a list of texts")
    batches = [_batch(name, value, len(classes)) for name, value in values.items()]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Cifar(images, labels, tuple(classes))


def _batch(
    name: str, value: Mapping[str, Any], classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of a file."""
    pixels = value.get("data")
    labels = value["labels"] if "labels" in value else value.get("fine_labels")
    if not (isinstance(pixels, _Array) and isinstance(labels, list)):
        raise FileError(f"'{name}' has no images or no labels, expected an array and a list")
    images = pixels.bytes_of(math.prod(PIXELS), name)
    known = all(type(label) is int and 0 <= label < classes for label in labels)
    if len(labels) != len(images) or not known:
        raise FileError(
            f"'{name}' has {len(images)} images and {len(labels)} labels, expected one below "
            f"{classes} for each image; download it again"
        )
    return images.reshape(-1, *PIXELS), np.array(labels, np.int64)


def _unpickled(content: bytes, name: str) -> Mapping[str, Any]:
    """Return the dictionary of a pickle."""
    try:
        value = _Restricted(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # of any type: the pickle decides what its parts are called with
        raise FileError(
            f"'{name}' is not a pickle of images, labels and names alone ({reason_of(error)}), and "
            "is not loaded; delete it, to download it again"
        ) from error
    if not isinstance(value, dict):
        raise FileError(f"'{name}' holds a {type(value).__name__}, expected a dictionary")
    return value


class _Restricted(pickle.Unpickler):
    """An unpickler that knows the names in a pickle of an array, and gives stand-ins for them.

    Nothing outside of this module is called, not even NumPy with arguments of the file.
    """

    def find_class(self, module: str, name: str) -> type:
        """Return a stand-in.

        Raises
        ------
        UnpicklingError
            For any other name than those of an array of NumPy 1 or 2.
        """
        stand_in = STAND_INS.get((module, name))
        if stand_in is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return stand_in


class _Array:
    """Stand-in for an array of bytes, which holds its state as it is in the file."""

    __slots__ = ("state",)

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def bytes_of(self, width: int, name: str) -> NDArray[np.uint8]:
        """Return the rows (n, width) of the array.

        Raises
        ------
        FileError
            If it is another one.
        """
        try:
            _, (count, found), kind, by_columns, content = self.state
            data = content.encode("latin1") if isinstance(content, str) else content
            fits = isinstance(kind, _Kind) and kind.code == "u1" and found == width
            if not fits or len(data) != count * width:
                raise ValueError("another type or size")
            order = (width, count) if by_columns else (count, width)
            rows = np.frombuffer(data, np.uint8).reshape(order)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise FileError(
                f"'{name}' has another array than images, expected bytes (n, {width}); download it "
                "again"
            ) from error
        return rows.T if by_columns else rows


class _Kind:
    """Stand-in for a type of numbers."""

    __slots__ = ("code",)

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, _: Any) -> None:
        """Ignore byte order and sizes, of which a byte has none."""


class _Latin1:
    """Stand-in for the function by which Python 3 writes bytes into pickles of protocol 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"it encodes a text in {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, _: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,  # of NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # of NumPy 2
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _Latin1,
}
"""Module and name in a pickle -> what is called in its place."""
