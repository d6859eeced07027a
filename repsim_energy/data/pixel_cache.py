"""Cache of decoded images: the pixels of many files as one mapped file."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from array import array
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import torch
from numpy.lib import format as npy
from torch import Tensor

from repsim_energy.data.mapped import map_images
from repsim_energy.data.picture_files import File, PictureFiles
from repsim_energy.errors import FileError, RepsimError, UsageError, reason_of, warn
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path, mark_used
from repsim_energy.interfaces.hashing import bytes_digest
from repsim_energy.numerics.memory import available_memory

__all__ = ["cached_pixels", "checked_images"]


DIGEST_BYTES = hashlib.sha256().digest_size
"""Length of the SHA-256 after the pixels."""


def cached_pixels(pictures: PictureFiles, version: str) -> Tensor:
    """Map the (n, c, h, w) images of files from the cache; decode and store them first if needed.

    The pixels are checked against their SHA-256. If the cache cannot be written, the images are
    read into memory.

    Parameters
    ----------
    pictures : the image files. Their paths, sizes and modification times, their shape and
        ``version`` identify the entry of the cache
    version : identifies the decoder and its options

    Raises
    ------
    FileError
        If a file is missing, or has changed when it has been read.
    UsageError
        If the cache cannot be written and memory does not suffice.

    Warns
    -----
    RepsimWarning
        If the cache cannot be written, or the stored images are damaged and made again.
    """
    whole = (len(pictures.files), *pictures.shape)
    if 0 in whole:
        return torch.empty(whole, dtype=torch.uint8)
    key, states = _key(pictures, version)
    try:
        path = cache_path("images", f"{key}.npy")
        cached = _cached(path, whole)
        if cached is None:
            cache_folder("images")
            _check_room(path.parent, whole)
    except UsageError as error:
        return _in_memory(pictures, states, whole, error)
    if cached is not None:
        return cached
    try:
        _store(path, pictures, states, whole)
    except RepsimError as error:
        if type(error) is not RepsimError:  # an error of an image, not of writing
            raise
        cached = _cached(path, whole)  # from another process
        return _in_memory(pictures, states, whole, error) if cached is None else cached
    return map_images(path)


def _cached(path: Path, whole: tuple[int, ...]) -> Tensor | None:
    """Map a file of the cache, or return None if it is missing or damaged."""
    try:
        images = checked_images(path)
        if tuple(images.shape) == whole:
            mark_used(path)
            return images
    except FileError:
        if not path.exists():
            return None
    warn(f"stored images '{path}' are damaged; they are decoded again")
    return None


def checked_images(path: Path) -> Tensor:
    """Map a file of the cache, whose SHA-256 is right.

    Raises
    ------
    FileError
        If it is missing or damaged.
    """
    try:
        images = map_images(path)
        with path.open("rb") as file:
            file.seek(-DIGEST_BYTES, os.SEEK_END)
            digest = file.read()
        pixels = images.numpy().data
    except Exception as error:  # damage comes out as any error of NumPy
        raise FileError(f"'{path}' cannot be read ({reason_of(error)}); delete it") from error
    if images.dtype != torch.uint8 or bytes_digest(pixels, "checking stored images") != digest:
        raise FileError(f"'{path}' is damaged: its bytes are not those written; delete it")
    return images


def _store(path: Path, pictures: PictureFiles, states: array[int], whole: tuple[int, ...]) -> None:
    digest, done = hashlib.sha256(), 0
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": whole}
            npy.write_array_header_1_0(file, header)
            start = file.tell()
        with (
            temporary.open("rb", buffering=0) as written,  # what is behind is not written yet
            closing(pictures.write(temporary, start)) as counts,
        ):
            written.seek(start)
            for count in counts:
                digest.update(written.read(count * math.prod(pictures.shape)))
                _check_unchanged(pictures.files, states, done, count)
                done += count
        with temporary.open("ab") as file:
            file.write(digest.digest())


def _in_memory(
    pictures: PictureFiles, states: array[int], whole: tuple[int, ...], reason: RepsimError
) -> Tensor:
    if math.prod(whole) > available_memory():
        raise reason
    warn(f"{whole[0]} images are decoded again each time, because they cannot be cached: {reason}")
    images, filled = torch.empty(whole, dtype=torch.uint8), 0
    for batch in pictures.batches():
        images[filled : filled + len(batch)] = batch
        _check_unchanged(pictures.files, states, filled, len(batch))
        filled += len(batch)
    return images


def _key(pictures: PictureFiles, version: str) -> tuple[str, array[int]]:
    """Return the name of the entry, and a number for each file that changes with its state."""
    digest = hashlib.sha256(f"2\n{pictures.shape}\n{version}\n".encode())
    states, start_of = array("q"), cache(lambda folder: os.path.join(os.path.abspath(folder), ""))
    for file in pictures.files:
        state = _state(file)
        folder, name = os.path.split(file)
        digest.update(b"%b\n%d %d %d\n" % (os.fsencode(start_of(folder) + name), *state))
        states.append(hash(state))
    return digest.hexdigest()[:32], states


def _state(file: File) -> tuple[int, int, int]:
    """Return the size of a file and the times of its last changes."""
    try:
        state = os.stat(file)
    except OSError as error:
        raise FileError(
            f"'{file}' cannot be read ({error.strerror}), expected an image; put it there"
        ) from error
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _check_unchanged(files: Sequence[File], states: array[int], first: int, count: int) -> None:
    """Check that some files are as they were before they were read."""
    for at in range(first, first + count):
        if hash(_state(files[at])) != states[at]:
            raise FileError(
                f"'{files[at]}' changed while the images were read, expected files that stay as "
                "they are; wait until they are complete, and repeat"
            )


def _check_room(folder: Path, whole: tuple[int, ...]) -> None:
    needed, free = math.prod(whole), shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"the pixels of {whole[0]} images take {needed / 1e9:.1f} GB in '{folder}', which has "
            f"{free / 1e9:.1f} GB left; choose fewer with limit= or classes=, or move REPSIM_CACHE"
        )
