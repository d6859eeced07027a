"""Arrays in NumPy files, read without pickles, with all that the format has of checksums."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from repsim_energy.errors import UsageError, one_line_errors
from repsim_energy.files.archives import check_members
from repsim_energy.numerics.memory import available_memory

__all__ = ["check_memory", "read_npy", "read_npz", "write_npz"]

Array = NDArray[Any]

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Version of the format -> reader of its header."""


def read_npz(
    path: Path, remedy: str, wanted: Callable[[list[str]], Collection[str]] = list
) -> dict[str, Array]:
    """Return arrays of a ``.npz`` file, each checked against its size and CRC-32.

    The list of arrays is checked too: their number, and their names, which the format has twice.

    Parameters
    ----------
    remedy : advice at the end of the error
    wanted : names of the arrays in the file -> names of those to read

    Raises
    ------
    FileError
        If the file is damaged, holds objects, or is of another format.
    UsageError
        If the arrays are larger than the free memory.
    """
    with (
        one_line_errors(path, ".npz without pickle", remedy),
        path.open("rb") as raw,
        zipfile.ZipFile(raw) as archive,
    ):
        check_members(raw, archive)
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        chosen = {name: members[name] for name in wanted([*members])}
        check_memory(path, sum(member.file_size for member in chosen.values()))
        return {name: _array(archive, member) for name, member in chosen.items()}


def read_npy(path: Path) -> Array:
    """Return the array of a ``.npy`` file, which has the size that its header declares.

    The format has no checksum: changed values cannot be noticed.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, holds objects, or has another size.
    """
    with path.open("rb") as file:
        return _read_array(file, os.fstat(file.fileno()).st_size)


def write_npz(path: Path, arrays: Mapping[str, Array], *, compressed: bool = False) -> None:
    """Write arrays as a ``.npz`` file.

    NumPy gets memory to write to: on a full disk, its archive would write again when it is deleted.

    Raises
    ------
    OSError
        If the system refuses to write.
    """
    content = io.BytesIO()
    save: Any = np.savez_compressed if compressed else np.savez
    save(content, **arrays)
    path.write_bytes(content.getbuffer())


def check_memory(path: Path, size: float) -> None:
    """Refuse arrays that are larger than the free memory.

    Raises
    ------
    UsageError
        If they are.
    """
    if size > (free := available_memory()):
        raise UsageError(
            f"'{path}' has arrays of {size / 2**30:.1f} GB, expected at most the "
            f"{free / 2**30:.1f} GB of memory that are free; save fewer samples or layers"
        )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        array = _read_array(file, member.file_size)
        file.read(1)  # at the end, zipfile compares the CRC-32
        return array


def _read_array(file: IO[bytes], size: int) -> Array:
    """Return the array of an open file of this size. Nothing is allocated before it is checked."""
    read_header = HEADERS.get(npy.read_magic(file))
    if read_header is None:
        raise ValueError("it is of another version of the .npy format than 1.0 and 2.0")
    shape, _, dtype = read_header(file)
    declared = file.tell() + math.prod(shape) * dtype.itemsize
    if declared != size and not dtype.hasobject:
        raise ValueError(f"its header declares {declared} bytes of a file of {size}")
    file.seek(0)
    array: Array = npy.read_array(file, allow_pickle=False)
    return array
