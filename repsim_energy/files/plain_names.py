"""Names of files that another file, or a user, gives: plain ones stay in their folder."""

from __future__ import annotations

import re
from pathlib import Path

from repsim_energy.errors import FileError

__all__ = ["is_plain_name", "path_beside"]

DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³]|CONIN\$|CONOUT\$)", re.IGNORECASE)
"""Names that are devices on Windows, also with any ending."""

MAX_BYTES = 255
"""Length of a name on most file systems."""


def is_plain_name(name: str) -> bool:
    """Return whether a text is the name of a file in a folder, on every system.

    It is not if it leads to another folder or a device, has characters that cannot be printed, or
    is not the name that the system would store.

    Examples
    --------
    >>> [is_plain_name(n) for n in ("net-1.bin", "naïve file", "..", "a/b", "C:a", "nul.txt", "a.")]
    [True, True, False, False, False, False, False]
    """
    return (
        0 < len(name.encode("utf-8", "surrogateescape")) <= MAX_BYTES
        and not re.search(r'[/\\:*?"<>|]', name)
        and name.isprintable()
        and name[-1] not in ". "
        and not DEVICES.fullmatch(name.partition(".")[0].rstrip())
    )


def path_beside(file: Path, name: str, *, subfolders: bool = False) -> Path:
    """Return the path of a file in the folder of another one that names it.

    Parameters
    ----------
    file : that names it
    name : what it names
    subfolders : whether the name may lead into folders below

    Raises
    ------
    FileError
        If the name leads elsewhere, or is not a plain one.

    Examples
    --------
    >>> path_beside(Path("net/index.json"), "net-1.bin").as_posix()
    'net/net-1.bin'
    """
    parts = [part for part in re.split(r"[/\\]", name) if part != "."] if subfolders else [name]
    if not parts or not all(map(is_plain_name, parts)):
        raise FileError(
            f"'{file}' names '{name[:100]}', expected a file in its own folder; correct it"
        )
    return file.parent.joinpath(*parts)
