"""Try in a process of its own whether HDF5 can open a file: damage can make it run forever."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from repsim_energy.errors import FileError

__all__ = ["check_opening"]

OPEN_SECONDS = 4.0
"""Time in which a file has to be open. It takes milliseconds; damaged files took it all or none."""

SCRIPT = """
import sys
import netCDF4
print(flush=True)
netCDF4.Dataset(sys.argv[1]).close()
"""
"""Reports that it begins, so that the import does not count, and opens a file."""


def check_opening(path: Path) -> None:
    """Refuse a file without a checksum that HDF5 does not open in time, or that makes it crash.

    Other errors of the file are left to its reader. It takes half a second.

    Raises
    ------
    FileError
        If it is refused.
    """
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", SCRIPT, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no processes here
        return
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if child.wait(OPEN_SECONDS) >= 0:
                return
        child.kill()
    raise FileError(
        f"'{path}' cannot be opened: HDF5 crashed or found no end in it, so it is damaged; restore "
        "a copy"
    )
