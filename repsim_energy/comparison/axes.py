"""Axes of a sweep: the options that are varied, and their values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from repsim_energy.errors import UsageError, first_few, unknown_name
from repsim_energy.options import as_typed

__all__ = ["OF_COMPARISONS", "PARTS", "Axis", "Point", "Vary", "axes_of", "listed", "points_of"]

PARTS = ("model", "dataset", "recipe", "metric", "comparison")
"""What has options that can be varied."""

OF_COMPARISONS = ("stage", "patch", "null", "align", "images", "pool", "tokens")
"""Arguments of ``compare`` that can be varied, as options of the part ``comparison``."""

MAX_POINTS = 10_000
"""Maximum number of points of a sweep."""

MAX_NAMED = 4
"""Maximum number of values that an error lists."""

Vary = Mapping[str, str | Iterable[Any]]
"""``PART.OPTION`` -> its values."""

LISTED = {
    "models": "list models in models=, they are a dimension of their own",
    "seeds": "seeds are a dimension of their own, give seeds=",
    **{name: f"write comparison.{name}=VALUE,..." for name in OF_COMPARISONS},
}
"""What is no part but looks like one -> the remedy."""

_VALUE = re.compile(
    r"""'(?P<single>(?:[^']|'')*)'|"(?P<double>(?:[^"]|"")*)"|(?P<plain>(?!['"])[^,]*)"""
)
_WORDS = {"true": True, "yes": True, "false": False, "no": False, "none": None}


@dataclass(frozen=True)
class Axis:
    """An option that is varied.

    Parameters
    ----------
    part : one of ``PARTS``
    option : of the part; of one part of a data set ``NAME.OPTION``, such as ``random_labels.seed``
    texts : values as a user types them in a spec
    values : the same as numbers if all of them are numbers, else as text
    """

    part: str
    option: str
    texts: Sequence[str]
    values: Sequence[int | float | str]

    @property
    def dim(self) -> str:
        """Name of the dimension in the result."""
        return f"{self.part}_{self.option}".replace(".", "_")

    @property
    def name(self) -> str:
        """Name as typed."""
        return f"{self.part}.{self.option}"


class Point(NamedTuple):
    """A combination of values.

    Parameters
    ----------
    axes : of the sweep
    at : index of the value along each axis
    """

    axes: tuple[Axis, ...]
    at: tuple[int, ...]

    def options(self, part: str) -> dict[str, str]:
        """Return the options of a part at this point, as text."""
        pairs = zip(self.axes, self.at, strict=True)
        return {axis.option: axis.texts[i] for axis, i in pairs if axis.part == part}

    def label(self, parts: Sequence[str] = PARTS) -> str:
        """Return the values along the axes of some parts, such as ``model_filters=16``."""
        pairs = zip(self.axes, self.at, strict=True)
        return ", ".join(f"{axis.dim}={axis.values[i]}" for axis, i in pairs if axis.part in parts)


def axes_of(vary: Vary) -> list[Axis]:
    """Return the axes that a user asks for.

    Raises
    ------
    UsageError
        For an unknown part, no or equal values, and more than 10,000 points.

    Examples
    --------
    >>> [axis.values for axis in axes_of({"model.filters": "16,32", "recipe.lr": [0.1, 1]})]
    [(16, 32), (0.1, 1.0)]
    """
    if not isinstance(vary, Mapping) or not vary:
        raise UsageError(
            f"got vary={vary!r}, expected options with their values, such as "
            "vary={'model.filters': [16, 32]}"
        )
    axes = [_axis(str(name), values) for name, values in vary.items()]
    points = math.prod(len(axis.values) for axis in axes)
    if points > MAX_POINTS:
        sizes = " x ".join(str(len(axis.values)) for axis in axes)
        raise UsageError(
            f"got {sizes} = {points} points, expected at most {MAX_POINTS}; vary less at a time"
        )
    return axes


def points_of(axes: Sequence[Axis]) -> Iterator[Point]:
    """Yield all points, those along the last axis next to each other."""
    for at in itertools.product(*(range(len(axis.values)) for axis in axes)):
        yield Point(tuple(axes), at)


def _axis(name: str, values: str | Iterable[Any]) -> Axis:
    part, dot, option = name.partition(".")
    names = option.split(".", 1 if part == "dataset" else 0)
    if part not in PARTS or not all(one.isidentifier() for one in names):
        raise UsageError(f"got vary={name}, {_remedy(part, dot)}")
    if part == "comparison" and option not in OF_COMPARISONS:
        raise unknown_name("option of the comparison", option, OF_COMPARISONS)
    if isinstance(values, str):
        texts = _split(values, name)
    elif isinstance(values, Iterable) and not isinstance(values, Mapping):
        texts = [_text(value, name) for value in values]
    else:
        raise UsageError(f"got {name}={values!r}, expected a list of values")
    if not texts or not all(texts):
        raise UsageError(f"got an empty value of {name} in {texts}, expected NAME=VALUE,...")
    _refuse_equal(name, texts)
    return Axis(part, option, tuple(texts), _values(texts))


def _remedy(part: str, dot: str) -> str:
    known = ", ".join(f"{one}.OPTION" for one in PARTS)
    if part in LISTED and not dot:
        return f"expected {known}; {LISTED[part]}"
    if part in PARTS and not dot:
        return f"expected an option of it, {part}.OPTION=VALUE,..."
    return f"expected {known}"


def _split(text: str, name: str) -> list[str]:
    """Return the values of a list, of which one in quotes may contain commas."""
    values, place = [], 0
    while True:
        match = _VALUE.match(text, place)
        if match is None or text[match.end() : match.end() + 1] not in ("", ","):
            raise UsageError(
                f"cannot read the value {text[place:][:40]} of {name}, expected a quote at its end "
                "too, before a comma; a quote in a value is written twice"
            )
        place = match.end()
        kind = str(match.lastgroup)
        quote = {"single": "'", "double": '"'}.get(kind, "")
        values.append(match[kind].replace(quote * 2, quote) if quote else match[kind].strip())
        if place == len(text):
            return values
        place += 1


def _text(value: Any, name: str) -> str:
    """Return a value as it is typed in a spec."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int | float | str | tuple | list):
        return as_typed(value)
    raise UsageError(
        f"got a value of type {type(value).__name__} of {name}, expected numbers and texts"
    )


def _refuse_equal(name: str, texts: Sequence[str]) -> None:
    """Refuse values that mean the same, such as ``0.1`` and ``1e-1``."""
    seen: dict[object, str] = {}
    for text in texts:
        meaning: object = _number(text)
        if meaning is None:
            meaning = _WORDS.get(text.lower(), text)  # True is 1, and False is 0
        if meaning in seen:
            raise UsageError(
                f"got {name} with '{seen[meaning]}' and '{text}', which are the same value, "
                "expected each once"
            )
        seen[meaning] = text


def _values(texts: Sequence[str]) -> tuple[int | float | str, ...]:
    """Return all values as integers, all as floats, or all as text."""
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if len(known) < len(texts):
        return tuple(texts)
    whole = all(isinstance(number, int) for number in known)
    return tuple(known) if whole else tuple(map(float, known))


def _number(text: str) -> int | float | None:
    """Return the number that a text is, ``None`` for other text and for what is not finite."""
    try:
        if abs(whole := int(text)) < 2**63:
            return whole
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def listed(points: Sequence[Point]) -> str:
    """Return the labels of the first few points."""
    return first_few([f"({point.label()})" for point in points], MAX_NAMED)
