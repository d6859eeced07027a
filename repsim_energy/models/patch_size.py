"""The option ``patch`` of models that are filters."""

from __future__ import annotations

import re
from typing import Any

from repsim_energy.errors import UsageError

__all__ = ["patch_size"]


def patch_size(patch: Any) -> tuple[int, int]:
    """Return height and width from text such as 5x3, or 5 for 5x5.

    Raises
    ------
    UsageError
        For anything else.
    """
    match = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", str(patch))
    if match is None:
        raise UsageError(f"got patch={patch}, expected height and width in pixels such as 3x3")
    return int(match[1]), int(match[2] or match[1])
