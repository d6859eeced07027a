"""Options with a few allowed values."""

from __future__ import annotations

from typing import get_args

import repsim_energy as rs

__all__ = ["check_choice"]


def check_choice(option: str, value: str, choices: object) -> None:
    """Refuse a value that is not in a ``Literal``."""
    known = get_args(choices)
    if value not in known:
        raise rs.UsageError(f"{option} is '{value}', expected {' or '.join(known)}")
