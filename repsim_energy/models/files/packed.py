"""Archives and compressed files, checked before anything in them is used."""

from __future__ import annotations

import gzip
import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import IO

from repsim_energy.archives import check_members
from repsim_energy.errors import FileError, RepsimWarning
from repsim_energy.numerics.memory import available_memory

__all__ = ["check_archive", "check_size", "unpacked"]

PART_BYTES = 2**22
"""Bytes that are unpacked at once."""

FREE_BYTES = 2**28
"""Size up to which content may be packed to any part of its size."""

MAX_RATIO = 30
"""Maximum ratio of larger content to its file. Weights of which nine in ten are zero reach 8, zeros
alone 1,000."""


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
            f"weights that fit into memory: damaged or made to fill it; download or save it again"
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


def check_archive(file: IO[bytes], path: Path) -> None:
    """Compare every member of a zip archive with its name, size and CRC-32.

    torch.load compares none of them. ``torch.serialization.set_crc32_options(False)`` writes files
    in which all CRC-32 are 0; a single fault cannot make such a file of another.

    Raises
    ------
    zipfile.BadZipFile, EOFError, zlib.error and others
        If a member is damaged.
    FileError
        If the members are too large.

    Warns
    -----
    RepsimWarning
        If the archive has no checksums.
    """
    packed = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        check_members(file, archive)
        members = archive.infolist()
        check_size(sum(member.file_size for member in members), packed, path)
        if unchecked := len(members) > 1 and not any(member.CRC for member in members):
            warnings.warn(
                f"'{path}' has no checksums, because it was saved with "
                "torch.serialization.set_crc32_options(False), so damage would go unnoticed; save "
                "it without that, or compare its SHA-256 with sha256=",
                RepsimWarning,
                stacklevel=2,
            )
        for member in [] if unchecked else members:
            with archive.open(member) as content:
                while content.read(PART_BYTES):
                    pass  # at the end, zipfile compares the CRC-32
