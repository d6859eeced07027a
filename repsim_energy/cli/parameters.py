"""Types of options: seeds, numbers, lists, and words for each model."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import rich_click as click

from repsim_energy.errors import UsageError
from repsim_energy.specs import MOST_SEEDS, split_list

__all__ = [
    "LIST",
    "NUMBERS",
    "PATCH",
    "SEEDS",
    "UNITS",
    "WORDS",
    "Words",
    "parse_numbers",
    "parse_patch",
    "parse_seeds",
    "parse_units",
    "parse_words",
]

Words = str | dict[str, str]
"""One word for all models, or label -> word."""


class _Text(click.ParamType):  # type: ignore[type-arg]
    """Type of an option whose text is read by a function, which gets the option for messages."""

    def __init__(self, name: str, read: Callable[[str, str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        option = max(param.opts, key=len) if param is not None else self.name
        return self._read(value, option) if isinstance(value, str) else value


def parse_seeds(text: str, option: str = "--seeds") -> int | list[int]:
    """Return a number of seeds, or the seeds themselves.

    Examples
    --------
    >>> parse_seeds("3"), parse_seeds("2-4"), parse_seeds("0,7")
    (3, [2, 3, 4], [0, 7])
    """
    if re.fullmatch(r"\d{1,20}", text):
        if int(text) > MOST_SEEDS:
            raise UsageError(
                f"got {option} {text}, expected at most {MOST_SEEDS} seeds; the one seed {text} is "
                f"written {option} {text}-{text}"
            )
        if int(text) > 0:
            return int(text)
    elif numbers := _numbers(text, option):
        return numbers
    raise UsageError(
        f"got {option} '{text[:40]}', expected a number above 0, a range 0-4 or a list 0,3,7"
    )


def parse_numbers(text: str, option: str) -> list[int]:
    """Return the numbers of a range or a list.

    Raises
    ------
    UsageError
        For other text, and for more than 10,000 numbers, before the list is made.

    Examples
    --------
    >>> parse_numbers("2-4", "--components"), parse_numbers("0,7", "--components")
    ([2, 3, 4], [0, 7])
    """
    numbers = _numbers(text, option)
    if not numbers:
        raise UsageError(f"got {option} '{text[:40]}', expected a range 0-26 or a list 0,15")
    return numbers


def parse_units(text: str, option: str) -> list[int] | str:
    """Return the numbers of units, or ``all``.

    Examples
    --------
    >>> parse_units("2-4", "--unit"), parse_units("all", "--unit")
    ([2, 3, 4], 'all')
    """
    if text == "all":
        return text
    numbers = _numbers(text, option)
    if not numbers:
        raise UsageError(f"got {option} '{text[:40]}', expected all, a range 0-15 or a list 0,7")
    return numbers


def _numbers(text: str, option: str) -> list[int]:
    if match := re.fullmatch(r"(\d{1,20})-(\d{1,20})", text):
        first, last = int(match[1]), int(match[2])
        _check_count(last - first + 1, text, option)
        return list(range(first, last + 1))
    if re.fullmatch(r"\d{1,20}(,\d{1,20})*", text):
        _check_count(text.count(",") + 1, text, option)
        return [int(part) for part in text.split(",")]
    return []


def _check_count(count: int, text: str, option: str) -> None:
    if count > MOST_SEEDS:
        raise UsageError(
            f"got {option} '{text[:40]}' with {count} numbers, expected at most {MOST_SEEDS}; use "
            "fewer at a time"
        )


def parse_words(text: str, option: str) -> Words:
    """Return one word for all models, or the word of each model that is named.

    Examples
    --------
    >>> parse_words("bn", "--fold"), parse_words("a=bn,vgg11:width=0.5=bn", "--fold")
    ('bn', {'a': 'bn', 'vgg11:width=0.5': 'bn'})
    """
    if not text:
        return text
    parts = [part.rpartition("=") for part in split_list(text)]
    words = {label: word for label, equals, word in parts if equals}
    if not words and len(parts) == 1:
        return text
    if len(words) < len(parts) or not all(words) or not all(words.values()):
        raise UsageError(
            f"got {option} {text}, expected one word for all models, or MODEL=WORD,..., each model "
            "once"
        )
    return words


def parse_patch(text: str, option: str) -> tuple[int, int]:
    """Return height and width of a patch in pixels.

    Examples
    --------
    >>> parse_patch("3x5", "--patch")
    (3, 5)
    """
    if match := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text):
        return int(match[1]), int(match[2])
    raise UsageError(
        f"got {option} '{text[:40]}', expected height and width in pixels such as 3x3; the number "
        "of channels is that of the images"
    )


def _list(text: str, _: str) -> list[str]:
    return split_list(text)


SEEDS = _Text("seeds", parse_seeds)
UNITS = _Text("units", parse_units)
NUMBERS = _Text("numbers", parse_numbers)
WORDS = _Text("words", parse_words)
PATCH = _Text("patch", parse_patch)
LIST = _Text("list", _list)
