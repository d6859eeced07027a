"""Tables of the page: similarities of all pairs, and networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from repsim_energy.errors import visible
from repsim_energy.results import runs

__all__ = [
    "Cell",
    "Matrix",
    "Table",
    "cell_text",
    "format_number",
    "matrix_of",
    "runs_of",
    "similarities_of",
    "table_data",
]

MAX_GROUPS = 60
"""Largest number of rows of the table of similarities. The copied numbers have all."""

MAX_NAME = 14
"""Length up to which names, if they are few, are also the titles of columns."""


@dataclass(frozen=True)
class Table:
    """A table of numbers that can be copied.

    Parameters
    ----------
    columns : titles
    rows : texts and numbers; NaN is undefined
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Cell:
    """A similarity of the table, as text.

    Parameters
    ----------
    text : mean and standard deviation
    inside : whether the mean is within the null interval
    note : the null interval in words
    interval : the confidence interval of the mean; empty if there is none
    """

    text: str
    inside: bool
    note: str
    interval: str = ""


@dataclass(frozen=True)
class Matrix:
    """The table of similarities.

    Parameters
    ----------
    names : of the rows
    models : index of the model of each row, by which it is switched off
    numbered : whether columns have numbers as titles
    cells : of all pairs
    left_out : number of groups that are not shown
    """

    names: Sequence[str]
    models: Sequence[int]
    numbered: bool
    cells: Sequence[Sequence[Cell]]
    left_out: int


def similarities_of(summary: xr.Dataset) -> Table:
    """Return each pair of groups once, without those that have no similarity."""
    names = ("mean", "spread", "ci_low", "ci_high", "n", "n_missing", "null_low", "null_high")
    values = np.stack([summary[name].values for name in names], -1)
    groups = [str(group) for group in summary.group.values]
    rows = [
        [groups[i], groups[j], *values[i, j].tolist()]
        for i in range(len(groups))
        for j in range(i, len(groups))
        if math.isfinite(values[i, j, 0])
    ]
    return Table(
        [
            *("a", "b", "similarity", "standard deviation", "interval low", "interval high"),
            *("pairs", "pairs missing", "null low", "null high"),
        ],
        rows,
    )


def matrix_of(result: xr.Dataset, summary: xr.Dataset) -> Matrix | None:
    """Return the table of similarities, without groups that have none."""
    layers = result.sizes["layer"] if "layer" in result.similarity.dims else 1
    position = np.arange(summary.sizes["group"])
    models = position // layers % result.sizes["model"]
    defined = np.flatnonzero(summary["mean"].notnull().any("group_ref").values)
    if not defined.size:
        return None
    shown = defined[:MAX_GROUPS]
    part = summary.isel(group=shown, group_ref=shown)
    fields = ("mean", "spread", "null_low", "null_high", "ci_low", "ci_high")
    values = [part[name].values for name in fields]
    names = [str(group) for group in part.group.values]
    return Matrix(
        names=names,
        models=[int(model) for model in models[shown]],
        numbered=len(names) > 6 or max(map(len, names)) > MAX_NAME,
        cells=[
            [_cell(*map(float, numbers)) for numbers in zip(*row, strict=True)]
            for row in zip(*values, strict=True)
        ],
        left_out=len(defined) - len(shown),
    )


def _cell(
    mean: float, spread: float, low: float, high: float, ci_low: float, ci_high: float
) -> Cell:
    if math.isnan(mean):
        return Cell("–", False, "nothing to compare")
    text = format_number(mean) + ("" if math.isnan(spread) else f" ± {spread:.3f}")
    known = f"{format_number(ci_low)} to {format_number(ci_high)}" if ci_low < ci_high else ""
    if not low < high:
        return Cell(text, False, "no null interval is known", known)
    note = f"null interval {format_number(low)} to {format_number(high)}"
    return Cell(text, low <= mean <= high, note, known)


def format_number(value: float) -> str:
    """Return a number with three decimals and the typographic minus, or a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def cell_text(cell: str | float) -> str:
    """Return a cell as text: counts without decimals."""
    if isinstance(cell, float):
        return format_number(cell)
    return str(cell) or "–"


def table_data(table: Table) -> dict[str, Any]:
    """Return a table for JSON: undefined numbers are ``None``."""
    return {
        "columns": list(table.columns),
        "rows": [[_plain(cell) for cell in row] for row in table.rows],
    }


def _plain(cell: Any) -> Any:
    if isinstance(cell, str) or cell is None:
        return cell and visible(cell)
    return cell if math.isfinite(cell) else None


RUN_COLUMNS = {
    "dataset": "data set",
    "model": "model",
    "seed": "seed",
    "steps": "steps",
    "train_accuracy": "train accuracy",
    "test_accuracy": "test accuracy",
    "init_similarity": "r with init",
    "fit_correlation": "r with theory",
    "run_id": "run",
}
"""Column of the table of all networks -> its title on the page."""


def runs_of(result: xr.Dataset) -> Table:
    """Return one row for each network."""
    frame = runs(result)
    given = {
        str(model)
        for model in result.model.values
        if "given" in result and bool(result.given.sel(model=model).all())
    }
    names = [name for name in RUN_COLUMNS if name in frame]
    rows = []
    for values in frame[names].to_dict("records"):
        values["seed"] = "given" if values["model"] in given else str(values["seed"])
        if "steps" in values:
            values["steps"] = values["steps"] if values["steps"] >= 0 else math.nan
        rows.append([values[name] for name in names])
    return Table([RUN_COLUMNS[name] for name in names], rows)
