"""Memory that this process can still use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

__all__ = ["available_memory"]

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux mounts control groups, which limit the memory of containers and batch jobs."""

OWN_CGROUPS = Path("/proc/self/cgroup")
"""The control groups of this process, a line ``number:controllers:path`` for each hierarchy."""

FILES = {
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    "v2": ("memory.max", "memory.current", "inactive_file"),
}
"""The files of limit and usage, and the key in ``memory.stat`` of the file cache that can go."""


def available_memory() -> float:
    """Return the number of bytes that this process can still use.

    Limits are the free memory of the machine and, on Linux, the control groups of the process.
    """
    return min([float(psutil.virtual_memory().available), *_left_by_cgroups()])


def _left_by_cgroups() -> Iterator[float]:
    """Yield the bytes that each limited control group around this process leaves."""
    for version, folder in _folders():
        limit, usage, cached = FILES[version]
        with contextlib.suppress(OSError, ValueError):  # not limited
            used = int((folder / usage).read_text(encoding="utf-8"))
            left = int((folder / limit).read_text(encoding="utf-8")) - used
            yield float(left + _statistic(folder, cached))


def _statistic(folder: Path, key: str) -> int:
    """Return a number from ``memory.stat``, 0 where it is missing."""
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines():
            name, value = line.split()
            if name == key:
                return int(value)
    return 0


def _folders() -> Iterator[tuple[str, Path]]:
    """Yield the control groups of this process and those around them.

    In a container the listed path may be that of the machine, where only the root is mounted.
    """
    with contextlib.suppress(OSError):
        for line in OWN_CGROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            own = PurePosixPath(path.lstrip("/"))
            if "memory" in controllers.split(","):
                yield from (("v1", CGROUPS / "memory" / part) for part in (own, *own.parents))
            elif not controllers:
                yield from (("v2", CGROUPS / part) for part in (own, *own.parents))
