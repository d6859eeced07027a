"""Report of a reproduction: published numbers beside ours, as JSON and as a page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from repsim_energy.errors import FileError
from repsim_energy.experiments.outcome import Quantity
from repsim_energy.files.plain_names import is_plain_name
from repsim_energy.files.storage import atomic_path

__all__ = [
    "HEADER",
    "JSON",
    "MARKDOWN",
    "Comparison",
    "Published",
    "Row",
    "compare_with_published",
    "page",
    "read_rows",
    "table",
    "write_rows",
]

JSON = "reproduction.json"
MARKDOWN = "reproduction.md"
HEADER = ("quantity", "published", "ours ± sd (n)", "within")

INTRODUCTION = """\
# Reproduction of Chowers & Weiss (2023)

Every number of ours is the mean ± standard deviation over networks, pairs of networks or draws.
`within` says whether that mean lies within the stated tolerance of the published number: for a
similarity no more than the tolerance below it (≥), for what should vanish no more than the
tolerance away from zero (|·| ≤), else as near as the tolerance (±).
"""

RULES: dict[str, tuple[Callable[[float, float], float], str]] = {
    "at_least": (lambda ours, value: value - ours, "≥ {low:g}"),
    "at_most": (lambda ours, value: abs(ours) - abs(value), "|·| ≤ {high:g}"),
    "near": (lambda ours, value: abs(ours - value), "± {tolerance:g}"),
}
"""Rule -> the deviation that must not exceed the tolerance, and the bound as printed."""


@dataclass(frozen=True)
class Published:
    """A published number and how near ours has to be.

    Parameters
    ----------
    where : table or figure
    rule : a name of ``RULES``
    tolerance : largest permitted deviation
    sd : published standard deviation
    """

    where: str
    value: float
    rule: str
    tolerance: float
    sd: float | None = None

    def within(self, ours: float) -> bool:
        """Return whether a number deviates by no more than the tolerance."""
        deviation, _ = RULES[self.rule]
        return bool(np.round(deviation(ours, self.value), 12) <= self.tolerance)

    def bound(self) -> str:
        """Return the bound as printed, such as ``≥ 0.94``."""
        low, high = self.value - self.tolerance, abs(self.value) + self.tolerance
        return RULES[self.rule][1].format(low=low, high=high, tolerance=self.tolerance)

    def __str__(self) -> str:
        sd = "" if self.sd is None else f" ± {self.sd:g}"
        return f"{self.value:g}{sd} ({self.where}; {self.bound()})"


class Comparison(TypedDict):
    """A quantity beside the published number, as JSON.

    ``ours`` and ``sd`` are mean and standard deviation of ``values`` measurements; ``published``
    has the fields of :class:`Published`.
    """

    quantity: str
    ours: float | None
    sd: float | None
    values: int
    over: str
    note: str
    published: dict[str, Any] | None
    within: bool | None


class Row(TypedDict):
    """Report of an experiment, as JSON.

    ``options`` are the options of ``repsim reproduce`` on which the numbers depend, empty for the
    default of the scale. Rows of earlier versions lack them.
    """

    names: list[str]
    title: str
    scale: str
    scale_summary: str
    recipe: str
    data: list[str]
    seconds: float
    missing: list[str]
    failures: list[str]
    quantities: list[Comparison]
    figure: bool
    options: NotRequired[dict[str, str]]


@cache
def _published() -> dict[str, dict[str, Any]]:
    file = resources.files(__package__).joinpath("published.json")
    entries: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return entries


def compare_with_published(quantity: Quantity) -> Comparison:
    """Return a quantity beside the published number."""
    values = quantity.values
    ours = float(values.mean()) if len(values) else None
    entry = _published()[quantity.key] if quantity.key else None
    return {
        "quantity": quantity.name,
        "ours": ours,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "values": len(values),
        "over": quantity.over,
        "note": quantity.note,
        "published": entry,
        "within": None if entry is None or ours is None else Published(**entry).within(ours),
    }


def read_rows(folder: Path) -> dict[str, Row]:
    """Return the rows stored in a folder: name of the experiment -> row.

    Raises
    ------
    FileError
        If ``reproduction.json`` is not a report.
    """
    path = folder / JSON
    if not os.path.isfile(path):
        return {}
    try:
        rows: dict[str, Row] = json.loads(path.read_text(encoding="utf-8"))["experiments"]
        _check(rows)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(
            f"'{path}' cannot be read ({error!r}), expected the JSON of repsim reproduce; "
            "move it away or choose another folder with -o"
        ) from error
    return rows


def _check(rows: Mapping[str, Row]) -> None:
    """Raise any of the errors of foreign data unless all rows can be shown."""
    page(rows)
    for name, row in rows.items():
        if not is_plain_name(name):
            raise ValueError(f"name {name!r}")
        if not isinstance(row["seconds"], int | float):
            raise TypeError(f"seconds {row['seconds']!r}")
        for text in (row["scale"], *row.get("options", {}).values()):
            if not isinstance(text, str):
                raise TypeError(f"option {text!r}")


def write_rows(folder: Path, rows: Mapping[str, Row]) -> None:
    """Write all rows as JSON and as the page. If one cannot be written, neither is changed."""
    content = {"schema_version": 1, "experiments": rows}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    with atomic_path(folder / JSON) as data, atomic_path(folder / MARKDOWN) as markdown:
        data.write_text(text + "\n", encoding="utf-8")
        markdown.write_text(page(rows), encoding="utf-8")


def page(rows: Mapping[str, Row]) -> str:
    """Return the rows as Markdown."""
    return "\n".join([INTRODUCTION, *(_section(name, row) for name, row in rows.items())])


def _section(name: str, row: Row) -> str:
    lines = [f"## {', '.join(row['names'])}: {row['title']}", ""]
    lines += [f"Scale: {row['scale']} ({row['scale_summary']}). Recipe: `{row['recipe']}`."]
    lines += [f"Images: {data}." for data in row["data"]]
    lines += [f"Not done: {part}." for part in row["missing"]]
    lines += [f"Failed: {training}." for training in row["failures"]]
    if row["quantities"]:
        lines += ["", f"| {' | '.join(HEADER)} |", "|---|---|---|---|"]
        cells = [[cell.replace("|", "\\|") for cell in line] for line in table(row)]
        lines += [f"| {' | '.join(line)} |" for line in cells]
    if row["figure"]:
        lines += ["", f"![{row['title']}]({name}.svg)"]
    return "\n".join([*lines, ""])


def table(row: Row) -> list[list[str]]:
    """Return the table of an experiment, with the columns ``HEADER``."""
    return [_cells(comparison) for comparison in row["quantities"]]


def _cells(row: Comparison) -> list[str]:
    entry = row["published"]
    return [
        row["quantity"] + (f"; {row['note']}" if row["note"] else ""),
        "–" if entry is None else str(Published(**entry)),
        _ours(row),
        {None: "–", True: "yes", False: "no"}[row["within"]],
    ]


def _ours(row: Comparison) -> str:
    if row["ours"] is None:
        return "–"
    sd = "" if row["sd"] is None else f" ± {_short(row['sd'])}"
    over = f" ({row['over']})" if row["over"] else ""
    return f"{_short(row['ours'])}{sd}{over}"


def _short(value: float) -> str:
    """Return three decimals, or three digits where these would hide the value.

    Examples
    --------
    >>> _short(0.98765), _short(3.2e-13), _short(12345.6)
    ('0.988', '3.2e-13', '1.23e+04')
    """
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1000 else f"{value:.3g}"
