"""Short text of objects that contain arrays, for the last line of a notebook's cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

__all__ = ["short_repr"]

MAX_NAMES = 5
"""Number of entries of a tuple or list that are shown if it is longer than twice as much."""


def short_repr(thing: Any) -> str:
    """Return the fields of a dataclass, with type and shape instead of the numbers of arrays.

    Assign it in the class: ``__repr__ = short_repr``.

    Examples
    --------
    >>> import torch
    >>> from repsim_energy.interfaces import PatchTransform
    >>> PatchTransform(torch.eye(27, dtype=torch.float64), (3, 3, 3))
    PatchTransform(matrix=<float64 27x27>, patch=(3, 3, 3))
    """
    parts = [f"{field.name}={_short(getattr(thing, field.name))}" for field in fields(thing)]
    return f"{type(thing).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        size = "x".join(map(str, value.shape)) or "one number"
        return f"<{str(value.dtype).removeprefix('torch.')} {size}>"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_short(item)}" for key, item in value.items()) + "}"
    if type(value) in (tuple, list) and len(value) > 2 * MAX_NAMES:
        first = ", ".join(_short(item) for item in value[:MAX_NAMES])
        return f"({first}, ... {len(value)} in all)"
    return repr(value)
