"""Names of models and data sets as labels of figures: literal, short and distinct."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence

from repsim_energy.errors import visible

__all__ = ["MAX_CHARACTERS", "columns_of", "label_of", "short_labels"]

MAX_CHARACTERS = 32
"""Length of a label beside a curve or a row. Longer names are shortened."""

SEPARATOR = re.compile(r"([/\\:,=_ -]+)")
"""Between the parts of a name, such as the folders of a path."""


def label_of(text: object) -> str:
    r"""Return a text as matplotlib shows it literally, without mathematics.

    Examples
    --------
    >>> print(label_of("a$b$"))
    a\$b\$
    """
    return visible(str(text)).replace("$", r"\$")


def columns_of(text: str) -> int:
    """Return the width of a text in characters. Those of Chinese, Japanese and Korean count twice.

    Examples
    --------
    >>> columns_of("net"), columns_of("網路")
    (3, 4)
    """
    return len(text) + sum(unicodedata.east_asian_width(one) in "WF" for one in text)


def short_labels(names: Sequence[str], characters: int = MAX_CHARACTERS) -> list[str]:
    """Return a label of at most this many characters for each name. Distinct names stay distinct.

    Parts that all names have in common are left out first, the longest ones before others, then
    the middle of each name. An ellipsis replaces what is left out. Labels that are equal then begin
    with the number of their name.

    Parameters
    ----------
    names : of the curves, rows or panels of one figure
    characters : length of the longest label

    Examples
    --------
    >>> short_labels(["runs/2026/vgg11/last.pt", "runs/2026/resnet18/last.pt"], 12)
    ['…vgg11…', '…resnet18…']
    """
    distinct = list(dict.fromkeys(map(str, names)))
    labels = [_cut(label, characters) for label in _drop_common(distinct, characters)]
    if len(set(labels)) < len(labels):
        labels = [
            _number(name, place, characters) if labels.count(label) > 1 else label
            for place, (name, label) in enumerate(zip(distinct, labels, strict=True))
        ]
    by_name = dict(zip(distinct, labels, strict=True))
    return [by_name[str(name)] for name in names]


def _drop_common(names: list[str], characters: int) -> list[str]:
    """Replace parts that all names share by an ellipsis, until the names are short enough."""
    rows = _aligned([SEPARATOR.split(name) for name in names])
    shared = [len(set(column)) == 1 for column in zip(*rows, strict=True)]
    runs: list[list[int]] = []
    for place, same in enumerate(shared):
        if same and len(names) > 1:
            if place and shared[place - 1] and runs:
                runs[-1].append(place)
            else:
                runs.append([place])
    runs.sort(key=lambda run: sum(len(rows[0][place]) for place in run))
    while runs and max(columns_of("".join(row)) for row in rows) > characters:
        run = runs.pop()
        for row in rows:
            row[run[0] : run[-1] + 1] = ["…", *[""] * (len(run) - 1)]
    return ["".join(row) for row in rows]


def _aligned(rows: list[list[str]]) -> list[list[str]]:
    """Return rows of equally many parts. The middle of rows that differ in length is one part."""
    shortest = min(map(len, rows), default=0)
    if all(len(row) == shortest for row in rows):
        return rows
    first = _count_shared(rows, shortest)
    last = _count_shared([row[::-1] for row in rows], shortest - first)
    return [
        [*row[:first], "".join(row[first : len(row) - last]), *row[len(row) - last :]]
        for row in rows
    ]


def _count_shared(rows: list[list[str]], most: int) -> int:
    """Return the number of leading parts that all rows share, at most ``most``."""
    for place in range(most):
        if len({row[place] for row in rows}) > 1:
            return place
    return most


def _cut(name: str, characters: int) -> str:
    """Replace the middle of a name that is too long by an ellipsis. The end is longer."""
    if columns_of(name) <= characters:
        return name
    tail = _beginning(name[::-1], 2 * (characters - 1) // 3)[::-1]
    return f"{_beginning(name, characters - 1 - columns_of(tail))}…{tail}"


def _beginning(text: str, columns: int) -> str:
    """Return the beginning of a text that fits a number of columns."""
    widths = itertools.accumulate(map(columns_of, text))
    return text[: sum(width <= columns for width in widths)]


def _number(name: str, place: int, characters: int) -> str:
    """Return a label that begins with the number of a name, from 1."""
    start = f"{place + 1}: "
    return start + _cut(name, max(2, characters - len(start)))
