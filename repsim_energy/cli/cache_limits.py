"""Ages and sizes in options of ``repsim cache``, and the question before a removal."""

from __future__ import annotations

import re
import sys

import rich_click as click

from repsim_energy.errors import UsageError

__all__ = ["agreed", "bytes_of", "seconds_of"]

SECONDS = {"h": 3600, "d": 86400, "w": 604800}
"""Unit of an age -> its length in seconds."""

BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
"""First letter of a unit of sizes -> its size."""

BINARY = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
"""The same of a unit with an i, such as GiB."""


def agreed(amount: str) -> bool:
    """Ask whether to remove so much.

    Raises
    ------
    UsageError
        If nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked whether to remove {amount}, expected --yes")
    return click.confirm(f"Remove {amount}?", err=True)


def seconds_of(age: str) -> float:
    """Return an age such as 12h, 30d or 8w in seconds.

    Examples
    --------
    >>> seconds_of("1.5d")
    129600.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", age.strip())
    if match is None:
        raise UsageError(
            f"got the age '{age}', expected a number of hours, days or weeks such as 12h, 30d or 8w"
        )
    return float(match[1]) * SECONDS[match[2]]


def bytes_of(size: str) -> int:
    """Return a size such as 500MB, 20G or 1.5GiB in bytes.

    Examples
    --------
    >>> bytes_of("500MB"), bytes_of("20G"), bytes_of("1.5 GiB"), bytes_of("0")
    (500000000, 20000000000, 1610612736, 0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", size.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise UsageError(
            f"got the size '{size}', expected a number of bytes such as 500MB, 20GB or 1.5GiB"
        )
    return int(float(match[1]) * (BINARY if match[3] else BYTES)[match[2]])
