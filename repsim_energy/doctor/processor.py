"""Which processor this is, and what it can do for matrix products."""

from __future__ import annotations

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
"""Where Linux says what its processors are."""

RELEVANT = re.compile(
    r"avx.*|fma.*|f16c|amx.*|.*vnni.*|asimd.*|neon.*|sve.*|sme(?!p).*|i8mm|bf16|svei8mm"
)
"""Features that decide which kernels are used."""


def processor_name() -> str:
    """Return the name that the system gives its processor."""
    if name := _of_linux("model name"):
        return name
    if sys.platform == "darwin":
        ask = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()


def processor_features() -> str:
    """Return the features that matter, as Linux or else torch names them."""
    names = (_of_linux("flags") or _of_linux("Features")).split() or _of_torch()
    found = dict.fromkeys(name for name in names if RELEVANT.fullmatch(name))
    return " ".join(found) or "not told by this system"


def _of_linux(field: str) -> str:
    """Return what Linux says of its first processor; nothing elsewhere."""
    if not CPUINFO.is_file():
        return ""
    match = re.search(rf"^{field}\s*:\s*(.+)$", CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1].strip() if match else ""


def _of_torch() -> Iterable[str]:
    ask: Any = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch
    return sorted(name for name, there in ask().items() if there is True)
