"""Name of the processor, and its features for matrix products."""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

__all__ = ["processor_features", "processor_name"]

CPUINFO = Path("/proc/cpuinfo")
"""Description of the processors on Linux."""

RELEVANT = re.compile(
    r"avx.*|fma.*|f16c|amx.*|.*vnni.*|asimd.*|neon.*|sve.*|sme(?!p).*|i8mm|bf16|svei8mm"
)
"""Features that decide which kernels are used."""


def processor_name() -> str:
    """Return the name of the processor as the system reports it."""
    if name := _from_linux("model name"):
        return name
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            asked = subprocess.run(command, capture_output=True, text=True, check=True)
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def processor_features() -> str:
    """Return the relevant features, with the names of Linux or else of torch."""
    names = (_from_linux("flags") or _from_linux("Features")).split() or _from_torch()
    relevant = dict.fromkeys(name for name in names if RELEVANT.fullmatch(name))
    return " ".join(relevant) or "not reported by this system"


def _from_linux(field: str) -> str:
    """Return a field of the first processor on Linux; an empty text elsewhere."""
    if not CPUINFO.is_file():
        return ""
    match = re.search(rf"^{field}\s*:\s*(.+)$", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1].strip() if match else ""


def _from_torch() -> Iterable[str]:
    capabilities: Any = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch
    return sorted(name for name, present in capabilities().items() if present is True)
