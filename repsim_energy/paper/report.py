"""Published numbers beside ours: one JSON file, and one page made from it."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from repsim_energy.errors import FileError
from repsim_energy.paper.outcome import Quantity
from repsim_energy.storage import atomic_path

__all__ = ["JSON", "MARKDOWN", "compared", "page", "read_rows", "table", "write_rows"]

JSON = "reproduction.json"
MARKDOWN = "reproduction.md"

INTRODUCTION = """\
# Reproduction of Chowers & Weiss (2023)

Every number of ours is the mean ± standard deviation over networks, pairs of networks or draws.
`within` says whether that mean lies within the stated tolerance of the published number: for a
similarity no more than the tolerance below it (≥), for what should vanish no more than the
tolerance away from zero (|·| ≤), else as near as the tolerance (±).
"""


@cache
def _published() -> dict[str, dict[str, Any]]:
    """Return key -> where it is published, value, sd, rule and tolerance."""
    file = resources.files(__package__).joinpath("published.json")
    table: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return table


def compared(quantity: Quantity) -> dict[str, Any]:
    """Return a quantity beside the published number, as plain values."""
    values = quantity.values
    row: dict[str, Any] = {
        "quantity": quantity.name,
        "ours": float(values.mean()) if len(values) else None,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "values": len(values),
        "over": quantity.over,
        "note": quantity.note,
        "published": None,
        "within": None,
    }
    if quantity.key:
        row["published"] = published = _published()[quantity.key]
        if row["ours"] is not None:
            row["within"] = _within(row["ours"], published)
    return row


def _within(ours: float, published: dict[str, Any]) -> bool:
    value, tolerance = published["value"], published["tolerance"]
    distance = {
        "at_least": value - ours,
        "at_most": abs(ours) - abs(value),
        "near": abs(ours - value),
    }
    return bool(np.round(distance[published["rule"]], 12) <= tolerance)


def read_rows(folder: Path) -> dict[str, Any]:
    """Return what a folder already holds: name of the experiment -> its row."""
    path = folder / JSON
    if not path.is_file():
        return {}
    try:
        rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["experiments"]
        page(rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"'{path}' cannot be read ({error!r}), expected the JSON of repsim reproduce; "
            "move it away or choose another folder with -o"
        ) from error
    return rows


def write_rows(folder: Path, rows: dict[str, Any]) -> None:
    """Write all rows as JSON and as the page."""
    with atomic_path(folder / JSON) as temporary:
        content = {"schema_version": 1, "experiments": rows}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with atomic_path(folder / MARKDOWN) as temporary:
        temporary.write_text(page(rows), encoding="utf-8")


def page(rows: dict[str, Any]) -> str:
    """Return the rows as Markdown."""
    return "\n".join([INTRODUCTION, *(_section(name, row) for name, row in rows.items())])


def _section(name: str, row: dict[str, Any]) -> str:
    lines = [f"## {', '.join(row['names'])}: {row['title']}", ""]
    lines += [f"Scale: {row['scale']} ({row['scale_summary']}). Recipe: `{row['recipe']}`."]
    lines += [f"Images: {data}." for data in row["data"]]
    lines += [f"Not done: {what}." for what in row["missing"]]
    lines += [f"Failed: {what}." for what in row["failures"]]
    if row["quantities"]:
        lines += ["", f"| {' | '.join(HEADER)} |", "|---|---|---|---|"]
        cells = [[cell.replace("|", "\\|") for cell in line] for line in table(row)]
        lines += [f"| {' | '.join(line)} |" for line in cells]
    if row["figure"]:
        lines += ["", f"![{row['title']}]({name}.svg)"]
    return "\n".join([*lines, ""])


HEADER = ("quantity", "published", "ours ± sd (n)", "within")


def table(row: dict[str, Any]) -> list[list[str]]:
    """Return the lines of an experiment's table, as under ``HEADER``."""
    return [_cells(quantity) for quantity in row["quantities"]]


def _cells(row: dict[str, Any]) -> list[str]:
    note = f"; {row['note']}" if row["note"] else ""
    within = {None: "–", True: "yes", False: "no"}[row["within"]]
    return [
        row["quantity"] + note,
        _expected(row["published"]),
        _ours(row),
        within,
    ]


def _expected(published: dict[str, Any] | None) -> str:
    if published is None:
        return "–"
    sd = f" ± {published['sd']:g}" if "sd" in published else ""
    bound = {
        "at_least": f"≥ {published['value'] - published['tolerance']:g}",
        "at_most": f"|·| ≤ {abs(published['value']) + published['tolerance']:g}",
        "near": f"± {published['tolerance']:g}",
    }[published["rule"]]
    return f"{published['value']:g}{sd} ({published['where']}; {bound})"


def _ours(row: dict[str, Any]) -> str:
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
