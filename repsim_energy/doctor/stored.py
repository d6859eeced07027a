"""Answers that no formula gives, stored with the package; ``make_stored`` makes them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

__all__ = ["FILE", "stored"]

FILE = Path(__file__).with_name("stored.json")


@functools.cache
def stored() -> dict[str, Any]:
    """Return what is stored: name -> numbers in lists."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content
