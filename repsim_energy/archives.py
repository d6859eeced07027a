"""Zip archives whose list of members is complete."""

from __future__ import annotations

import os
import zipfile
from typing import IO

__all__ = ["check_members"]

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
