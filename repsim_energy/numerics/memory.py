"""Available memory of this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["available_memory"]


def available_memory() -> float:
    """Return the number of bytes that this process can still allocate.

    It is infinite if the system does not report it.
    """
    free = [float("inf")]
    with_limit = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    with contextlib.suppress(OSError, ValueError):  # there is no such limit
        free.append(
            int(with_limit[0].read_text(encoding="utf-8"))
            - int(with_limit[1].read_text(encoding="utf-8"))
        )
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free += [1024 * int(x.split()[1]) for x in lines if x.startswith("MemAvailable")]
    except OSError:
        if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
            free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(free)
