"""What the page says of one result, as texts and tables."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
import xarray as xr

from repsim_energy.errors import visible
from repsim_energy.report.profile_chart import Chart, charts_of
from repsim_energy.report.provenance import Facts, facts_of
from repsim_energy.report.words import describe, title_of
from repsim_energy.results import summarize

__all__ = ["Matrix", "Section", "Table", "section_of"]

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
    """

    text: str
    inside: bool
    note: str


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


@dataclass(frozen=True)
class Row:
    """A row of the table of runs.

    Parameters
    ----------
    model : index of its model, by which it is switched off
    cells : texts
    """

    model: int
    cells: Sequence[str]


@dataclass(frozen=True)
class Section:
    """The content of the page for one result.

    Parameters
    ----------
    number : of the section, from 1
    title : metric and data sets
    source : name of the file; empty for a result in memory
    words : paragraphs that say what was compared and how
    failures : one line for each part that failed
    models, seeds : labels, in the order of the result
    matrix : similarities; ``None`` if there is nothing to compare
    charts : energy profiles, one chart for each data set
    runs : one row for each network
    facts : where the numbers come from
    command : that makes the result again; empty if it was made in Python
    data : everything that the script of the page uses, for JSON
    """

    number: int
    title: str
    source: str
    words: Sequence[str]
    failures: Sequence[str]
    models: Sequence[str]
    seeds: Sequence[str]
    matrix: Matrix | None
    charts: Sequence[Chart]
    runs: Table
    facts: Facts
    command: str
    data: dict[str, Any] = field(repr=False)

    @property
    def run_columns(self) -> Sequence[str]:
        """Titles of the table of runs. Data sets have a column if there are several."""
        return self.runs.columns[self._first_column :]

    @property
    def run_rows(self) -> list[Row]:
        """Rows of the table of runs."""
        return [
            Row(self.models.index(row[1]), [_text(cell) for cell in row[self._first_column :]])
            for row in self.runs.rows
        ]

    @property
    def _first_column(self) -> int:
        return 0 if len({row[0] for row in self.runs.rows}) > 1 else 1


def section_of(result: xr.Dataset, number: int, source: str = "") -> Section:
    """Return the content of the page for a result.

    Parameters
    ----------
    number : of the section, from 1
    source : name of the file of the result

    Raises
    ------
    UsageError
        If the result has no similarities, or not the same networks on both sides of its pairs.
    """
    summary = summarize(result)
    charts = charts_of(result)
    runs = _runs(result)
    tables = {"similarity": _similarities(summary), "runs": runs}
    return Section(
        number=number,
        title=title_of(result),
        source=source,
        words=describe(result, summary),
        failures=result.attrs.get("failures", "").splitlines(),
        models=[str(model) for model in result.model.values],
        seeds=[str(seed) for seed in result.seed.values],
        matrix=_matrix(result, summary),
        charts=charts,
        runs=runs,
        facts=facts_of(result),
        command=_command(result.attrs.get("command", "")),
        data={
            "models": [visible(str(model)) for model in result.model.values],
            "seeds": [visible(str(seed)) for seed in result.seed.values],
            "tables": {name: _for_json(table) for name, table in tables.items()},
            "charts": [chart.data for chart in charts],
        },
    )


def _similarities(summary: xr.Dataset) -> Table:
    """Return each pair of groups once, without those that have no similarity."""
    names = ("mean", "spread", "null_low", "null_high")
    values = np.stack([summary[name].values for name in names], -1)
    groups = [str(group) for group in summary.group.values]
    rows = [
        [groups[i], groups[j], *values[i, j].tolist()]
        for i in range(len(groups))
        for j in range(i, len(groups))
        if math.isfinite(values[i, j, 0])
    ]
    return Table(["a", "b", "similarity", "standard deviation", "null low", "null high"], rows)


def _matrix(result: xr.Dataset, summary: xr.Dataset) -> Matrix | None:
    """Return the table of similarities, without groups that have none."""
    layers = result.sizes["layer"] if "layer" in result.similarity.dims else 1
    position = np.arange(summary.sizes["group"])
    models = position // layers % result.sizes["model"]
    alive = np.flatnonzero(summary["mean"].notnull().any("group_ref").values)
    if not alive.size:
        return None
    shown = alive[:MAX_GROUPS]
    part = summary.isel(group=shown, group_ref=shown)
    values = [part[name].values for name in ("mean", "spread", "null_low", "null_high")]
    names = [str(group) for group in part.group.values]
    return Matrix(
        names=names,
        models=[int(model) for model in models[shown]],
        numbered=len(names) > 6 or max(map(len, names)) > MAX_NAME,
        cells=[
            [_cell(*map(float, numbers)) for numbers in zip(*row, strict=True)]
            for row in zip(*values, strict=True)
        ],
        left_out=len(alive) - len(shown),
    )


def _cell(mean: float, spread: float, low: float, high: float) -> Cell:
    if math.isnan(mean):
        return Cell("–", False, "nothing to compare")
    text = format_number(mean) + ("" if math.isnan(spread) else f" ± {spread:.3f}")
    if not low < high:
        return Cell(text, False, "no null interval is known")
    note = f"null interval {format_number(low)} to {format_number(high)}"
    return Cell(text, low <= mean <= high, note)


def format_number(value: float) -> str:
    """Return a number with three decimals and the typographic minus, or a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def _text(cell: str | float) -> str:
    """Return a cell as text: counts without decimals."""
    if isinstance(cell, float):
        return format_number(cell)
    return str(cell) or "–"


RUN_COLUMNS = {
    "steps": "steps",
    "train_accuracy": "train accuracy",
    "test_accuracy": "test accuracy",
    "init_similarity": "r with init",
    "fit_correlation": "r with theory",
}
"""Variable -> title of its column in the table of runs."""


def _runs(result: xr.Dataset) -> Table:
    """Return one row for each network."""
    names = [name for name in RUN_COLUMNS if name in result]
    rows = []
    for d, dataset in enumerate(result.dataset.values):
        for m, model in enumerate(result.model.values):
            for s, seed in enumerate(result.seed.values):
                run = result.isel(dataset=d, model=m, seed=s)
                given = "given" in run and bool(run.given)
                if given and s > 0:
                    continue  # values of a given network are at the first seed
                label = "given" if given else str(seed)
                cells = [_run_value(run, name) for name in names]
                run_id = str(run.run_id.item()) if "run_id" in run else ""
                rows.append([str(dataset), str(model), label, *cells, run_id])
    titles = [RUN_COLUMNS[name] for name in names]
    return Table(["data set", "model", "seed", *titles, "run"], rows)


def _run_value(run: xr.Dataset, name: str) -> float | int:
    values = run[name]
    if "stage" in values.dims:
        values = values.sel(stage=run.attrs["stage"])
    value = values.item()
    if name == "steps":
        return int(value) if value >= 0 else math.nan
    return float(value)


def _for_json(table: Table) -> dict[str, Any]:
    return {
        "columns": list(table.columns),
        "rows": [[_plain(cell) for cell in row] for row in table.rows],
    }


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return visible(cell)
    return cell if math.isfinite(cell) else None


def _command(command: str) -> str:
    """Return the command without the folder in which this computer has the program."""
    try:
        program, *arguments = shlex.split(command)
    except ValueError:  # no text, or a quote without an end
        return command
    if PurePath(program).name == "__main__.py":
        return shlex.join(["python", "-m", "repsim_energy", *arguments])
    return shlex.join([PurePath(program).name, *arguments])
