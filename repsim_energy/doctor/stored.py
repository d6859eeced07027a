"""Stored answers, for results without a formula. ``make_stored`` computes them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

__all__ = ["FILE", "stored"]

FILE = Path(__file__).with_name("stored.json")


@functools.cache
def stored() -> dict[str, Any]:
    """Return the stored answers: name -> nested lists of numbers."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content
