"""Compressed files: the list of a zip archive is complete, and content is of a size that fits."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path
from typing import IO

from repsim_energy.errors import FileError
from repsim_energy.numerics.memory import available_memory

__all__ = ["PART_BYTES", "check_members", "check_size", "unpacked"]

PART_BYTES = 2**22
"""Bytes that are unpacked at once."""

FREE_BYTES = 2**28
"""Size up to which content may be packed to any part of its size."""

MAX_RATIO = 30
"""Maximum ratio of larger content to its file. Weights of which nine in ten are zero reach 8, zeros
alone 1,000."""

END, END_64 = b"PK\x05\x06", b"PK\x06\x06"
"""Begin the end records ("APPNOTE.TXT, .ZIP File Format Specification", 4.3.14 and 4.3.16)."""

END_BYTES = 2**16 + 200
"""Most bytes from the first of these records to the end of the file."""

MANY = 0xFFFF
"""Number of members in a record whose number is in the other."""


def check_members(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Compare the members that zipfile lists with their number, and both names of each.

    A damaged length in the list can hide the members behind it. zipfile does not notice that.

    Parameters
    ----------
    file : that the archive is read from

    Raises
    ------
    zipfile.BadZipFile
        If members are hidden or have other names in the archive than in its list.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_BYTES))
    tail = file.read()
    at = tail.rfind(END)
    count = int.from_bytes(tail[at + 10 : at + 12], "little")
    if count == MANY and (at := tail.rfind(END_64, 0, at)) >= 0:
        count = int.from_bytes(tail[at + 32 : at + 40], "little")
    members = archive.infolist()
    if len(members) != count:
        raise zipfile.BadZipFile(f"{len(members)} members are listed of {count}")
    for member in members:
        archive.open(member).close()


def check_size(size: int, packed: int, path: Path) -> None:
    """Refuse content that a file of so few bytes can hardly have.

    Parameters
    ----------
    size : of the content, as the file declares it, or as far as it is unpacked
    packed : size of the file

    Raises
    ------
    FileError
        If the content exceeds the free memory, or 256 MiB and 30 times the file.
    """
    if size > min(available_memory(), max(FREE_BYTES, MAX_RATIO * packed)):
        raise FileError(
            f"'{path}' declares {size / 1e9:.3g} GB in a file of {packed / 1e9:.3g} GB, expected "
            f"less: damaged, or made to fill the memory; download or save it again"
        )


def unpacked(file: IO[bytes], path: Path) -> io.BytesIO:
    """Return the content of a gzip file, whose CRC-32 is right."""
    packed = os.fstat(file.fileno()).st_size
    content = io.BytesIO()
    file.seek(0)
    with gzip.open(file) as stream:
        while part := stream.read(PART_BYTES):
            content.write(part)
            check_size(content.tell(), packed, path)
    return content
