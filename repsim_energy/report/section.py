"""Content of the page for one result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import xarray as xr

from repsim_energy.errors import visible
from repsim_energy.report.figures import Figure, figures_of
from repsim_energy.report.profile_chart import Chart, charts_of
from repsim_energy.report.provenance import Facts, facts_of
from repsim_energy.report.tables import (
    Matrix,
    Table,
    cell_text,
    matrix_of,
    runs_of,
    similarities_of,
    table_data,
)
from repsim_energy.report.words import describe, title_of
from repsim_energy.results import summarize
from repsim_energy.results.summary import check_pairs

__all__ = ["Section", "section_of"]

PYTHON = "import repsim_energy as rs\n"
"""Start of the attribute ``command`` of results that were made in Python."""


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
    words : paragraphs that describe the comparison
    failures : one line for each part that failed
    models, seeds : labels, in the order of the result
    matrix : similarities; ``None`` if there is nothing to compare
    beyond : the same beyond the theory; ``None`` if it describes no two networks
    charts : energy profiles, one chart for each data set
    figures : of ``rs.plot``
    runs : one row for each network
    facts : provenance
    command : command or Python call that makes the result again; empty if none is stored
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
    beyond: Matrix | None
    charts: Sequence[Chart]
    figures: Sequence[Figure]
    runs: Table
    facts: Facts
    command: str
    data: dict[str, Any] = field(repr=False)

    @property
    def own_objects(self) -> list[str]:
        """Names in a Python call that stand for objects which are not stored."""
        if not self.command.startswith(PYTHON):
            return []
        return re.findall(r"^# (own_\d+): ", self.command, re.MULTILINE)

    @property
    def run_columns(self) -> Sequence[str]:
        """Titles of the table of runs. Data sets have a column if there are several."""
        return self.runs.columns[self._first_column :]

    @property
    def run_rows(self) -> list[Row]:
        """Rows of the table of runs."""
        return [
            Row(self.models.index(row[1]), [cell_text(cell) for cell in row[self._first_column :]])
            for row in self.runs.rows
        ]

    @property
    def _first_column(self) -> int:
        return 0 if len({row[0] for row in self.runs.rows}) > 1 else 1


def section_of(
    result: xr.Dataset, number: int, source: str = "", *, with_figures: bool = True
) -> Section:
    """Return the content of the page for a result.

    Parameters
    ----------
    number : of the section, from 1
    source : name of the file of the result
    with_figures : whether to draw the figures of ``rs.plot``

    Raises
    ------
    UsageError
        If the result has no similarities, or not the same networks on both sides of its pairs.
    """
    check_pairs(result)  # refuses a summary, which has no intervals
    summary = summarize(result)
    charts = charts_of(result)
    networks = runs_of(result)
    tables = {"similarity": similarities_of(summary), "runs": networks}
    beyond = summarize(result, "beyond_theory") if "beyond_theory" in result else None
    if beyond is not None:
        tables["beyond"] = similarities_of(beyond)
    return Section(
        number=number,
        title=title_of(result),
        source=source,
        words=describe(result, summary),
        failures=result.attrs.get("failures", "").splitlines(),
        models=[str(model) for model in result.model.values],
        seeds=[str(seed) for seed in result.seed.values],
        matrix=matrix_of(result, summary),
        beyond=None if beyond is None else matrix_of(result, beyond),
        charts=charts,
        figures=figures_of(result, f"s{number}") if with_figures else [],
        runs=networks,
        facts=facts_of(result),
        command=_command(result.attrs.get("command", "")),
        data={
            "models": [visible(str(model)) for model in result.model.values],
            "seeds": [visible(str(seed)) for seed in result.seed.values],
            "tables": {name: table_data(table) for name, table in tables.items()},
            "charts": [chart.data for chart in charts],
        },
    )


def _command(command: str) -> str:
    """Return the command without the folder in which this computer has the program.

    A Python call is returned unchanged.
    """
    if command.startswith(PYTHON):
        return command
    try:
        program, *arguments = shlex.split(command)
    except ValueError:  # no text, or a quote without an end
        return command
    if PurePath(program).name == "__main__.py":
        return shlex.join(["python", "-m", "repsim_energy", *arguments])
    return shlex.join([PurePath(program).name, *arguments])
