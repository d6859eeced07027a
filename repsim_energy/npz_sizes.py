"""Sizes that the arrays of a ``.npz`` file declare, checked before memory is asked for."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from typing import IO

from numpy.lib import format as npy

__all__ = ["check_sizes"]


def check_sizes(file: IO[bytes], names: Collection[str] | None = None) -> None:
    """Check that arrays are as large as they say. A few bytes can declare any shape.

    Parameters
    ----------
    file : of NumPy's ``.npz`` format
    names : of the arrays to check; by default all

    Raises
    ------
    ValueError
        For an array of objects, or of another size than its header says.
    zipfile.BadZipFile
        For another file.
    """
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name != entry.filename and (names is None or name in names):
                with archive.open(entry) as member:
                    _check_size(member, name, entry.file_size)
    file.seek(0)


def _check_size(member: IO[bytes], name: str, size: int) -> None:
    version = npy.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(member)
    else:
        raise ValueError(f"'{name}' has version {version} of the format, expected 1 or 2")
    if dtype.hasobject:
        raise ValueError(f"'{name}' holds objects, which only a pickle can store")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - member.tell():
        raise ValueError(
            f"'{name}' says that it has shape {shape}, and has {size - member.tell()} bytes"
        )
