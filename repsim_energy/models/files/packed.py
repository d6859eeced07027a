"""Archives of weights, checked before anything in them is used."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

from repsim_energy.errors import warn
from repsim_energy.files.archives import PART_BYTES, check_members, check_size

__all__ = ["check_archive"]


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
            warn(
                f"'{path}' has no checksums, because it was saved with "
                "torch.serialization.set_crc32_options(False), so damage would go unnoticed; save "
                "it without that, or compare its SHA-256 with sha256="
            )
        for member in [] if unchecked else members:
            with archive.open(member) as content:
                while content.read(PART_BYTES):
                    pass  # at the end, zipfile compares the CRC-32
