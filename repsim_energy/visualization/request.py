"""Checks of what a user asks for: units, steps, priors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from repsim_energy.errors import UsageError, first_few, unknown_name
from repsim_energy.visualization.network import Layer
from repsim_energy.visualization.sheet import check_sheet
from repsim_energy.visualization.target import POSITIONS

__all__ = ["ALL", "check_settings", "unit_numbers"]

ALL = "all"
"""All units of a layer."""

MAX_LISTED = 5
"""Maximum number of units that an error lists."""


def check_settings(
    position: Any,
    steps: Any,
    jitter: Any,
    total_variation: Any,
    norm: Any,
    start: Any,
    output: str | Path | None,
) -> None:
    """Refuse settings of a search that have another type or are out of range, and a bad output.

    Raises
    ------
    UsageError
        For such a setting, with its name, and for a sheet that cannot be written.
    """
    if position not in POSITIONS:
        raise unknown_name("position", str(position), POSITIONS)
    for name, value, least, most in (
        ("steps", steps, 1, 10**6),
        ("jitter", jitter, 0, 1000),
        ("start", start, 0, 2**63 - 1),
    ):
        if not _is(value, Integral) or not least <= value <= most:
            raise UsageError(f"got {name}={value}, expected a whole number from {least} to {most}")
    if not _is(total_variation, Real) or not 0 <= total_variation < math.inf:
        raise UsageError(
            f"got total_variation={total_variation}, expected a number, at least 0; 0 is no prior"
        )
    if norm is not None and not (_is(norm, Real) and 0 < norm < math.inf):
        raise UsageError(
            f"got norm={norm}, expected a number above 0; leave it out for images in the range of "
            "the pixels"
        )
    if output is None:
        return
    if not isinstance(output, str | Path):
        raise UsageError(f"got output={output!r}, expected the name of a file such as sheet.png")
    check_sheet(output)


def unit_numbers(units: int | Sequence[int] | str, layer: Layer) -> list[int]:
    """Return the numbers of the units of a layer that a user asks for.

    Raises
    ------
    UsageError
        For units that the layer does not have, are listed twice, or are no numbers.

    Examples
    --------
    >>> unit_numbers("all", Layer("0", "0", 1, 3)), unit_numbers(2, Layer("0", "0", 1, 3))
    ([0, 1, 2], [2])
    """
    if isinstance(units, str) and units == ALL:
        return list(range(layer.units))
    given: Any = [units] if _is(units, Integral) else units
    try:
        numbers = [] if isinstance(given, str | bytes) else list(given)
    except TypeError:
        numbers = []
    if not numbers or not all(_is(number, Integral) for number in numbers):
        raise UsageError(f"got units={units!r}, expected a number, several numbers, or 'all'")
    beyond = [str(number) for number in numbers if not 0 <= number < layer.units]
    if beyond:
        raise UsageError(
            f"got units={first_few(beyond, MAX_LISTED)}, but layer '{layer.label}' has "
            f"{layer.units}, expected numbers from 0 to {layer.units - 1}"
        )
    if len(set(numbers)) < len(numbers):
        twice = [str(number) for number in dict.fromkeys(numbers) if numbers.count(number) > 1]
        raise UsageError(f"got units={first_few(twice, MAX_LISTED)} twice, expected each once")
    return [int(number) for number in numbers]


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
