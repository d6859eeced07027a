"""Bytes of result files: checked before HDF5 parses them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from repsim_energy.errors import FileError
from repsim_energy.files.hdf5 import CLASSIC, HDF5
from repsim_energy.files.seals import check_seal, is_sealed, unsealed
from repsim_energy.results.opening import check_opening

__all__ = ["Stored", "check_content", "read_content"]

REMEDY = "restore a copy, or make it anew"

END_ADDRESS = {0: 40, 1: 44, 2: 28, 3: 28}
"""Version of the superblock -> position of the address at which the file ends, if addresses have
eight bytes ("HDF5 File Format Specification Version 3.0", section II.A)."""


HEAD_BYTES = 64
"""First bytes of a file, with the address at which it ends."""


class Stored(NamedTuple):
    """Content of a result file.

    Parameters
    ----------
    content : netCDF
    sealed : whether the SHA-256 at its end has been checked
    """

    content: bytes
    sealed: bool


def read_content(path: Path) -> Stored:
    """Return the netCDF content of a file.

    HDF5 notices a part of all damage only, and some damage makes it run forever. So it gets a file
    whose SHA-256 is right, or one without a trace of a seal: it ends exactly where its first bytes
    say. If a fault takes a seal away, it leaves a part of it, takes a part of the content too, or
    leaves the content as it was. A file without a seal is first opened in another process.

    Raises
    ------
    FileError
        If the file was sealed and is damaged, is truncated, or is no netCDF file.
    """
    data = path.read_bytes()
    if is_sealed(data):
        return Stored(unsealed(data, path, REMEDY), True)
    _check_unsealed(path, data[:HEAD_BYTES], len(data))
    return Stored(data, False)


def check_content(path: Path) -> bool:
    """Check a file as :func:`read_content`, part by part, and return whether it is sealed.

    Raises
    ------
    FileError
        As :func:`read_content`.
    """
    with path.open("rb") as file:
        if check_seal(file, path, REMEDY):
            return True
        size = file.seek(0, 2)
        file.seek(0)
        _check_unsealed(path, file.read(HEAD_BYTES), size)
    return False


def _check_unsealed(path: Path, head: bytes, size: int) -> None:
    """Refuse a file without a seal that is damaged or no netCDF.

    Parameters
    ----------
    head, size : first bytes of the file, and the number of all
    """
    if head.startswith(CLASSIC):
        return
    if not head.startswith(HDF5):
        raise FileError(f"'{path}' cannot be read: it is no netCDF4 file; name a result, {REMEDY}")
    if (end := _end_of(head)) != size:
        raise FileError(
            f"'{path}' cannot be read: it is damaged, has {size} bytes, expected {end} "
            f"and its checksum; {REMEDY}"
        )
    check_opening(path)


def _end_of(data: bytes) -> int:
    """Return where an HDF5 file ends according to its superblock, -1 if that cannot be read."""
    position = END_ADDRESS.get(data[8] if len(data) > 8 else -1)
    if position is None:
        return -1
    return int.from_bytes(data[position : position + 8], "little")
