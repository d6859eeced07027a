"""HTML page of a reproduction: published numbers beside ours, figures, deviations, provenance."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.experiments.commands import commands_for
from repsim_energy.experiments.deviations import Deviation, deviations_of
from repsim_energy.experiments.paper import EXPERIMENTS
from repsim_energy.experiments.report import HEADER, JSON, Row, read_rows, table
from repsim_energy.experiments.setting import OPTIONS
from repsim_energy.files.storage import check_writable
from repsim_energy.report.figures import MAX_SVG_BYTES, Figure, inline_drawing, png_address
from repsim_energy.report.html import write_page
from repsim_energy.report.provenance import Facts, facts_of
from repsim_energy.report.tables import Table, cell_text, runs_of, table_data
from repsim_energy.results import list_groups, open_result

__all__ = ["HTML", "write_reproduction"]

HTML = "reproduction.html"
TEMPLATES = Path(__file__).parent / "templates"

MAX_PNG_BYTES = 400_000
"""Size up to which the PNG file of a figure replaces an SVG file that is too large."""

VERSIONS = ("python", "repsim-energy", "torch", "numpy", "xarray")


@dataclass(frozen=True)
class Networks:
    """Trained and given networks of all results of a row, as a table without switches.

    Parameters
    ----------
    table : one row for each network, with the name of its result
    """

    table: Table

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows as texts."""
        return [{"model": -1, "cells": [cell_text(c) for c in row]} for row in self.table.rows]


@dataclass(frozen=True)
class Section:
    """Content of the page for a row.

    Parameters
    ----------
    number : of the section, from 1
    name : name of the experiment
    row : the stored row
    cells : table of its numbers, with the columns ``HEADER``
    deviations : numbers outside their tolerance
    figure : its figure; ``None`` if the row has none
    networks : ``None`` without networks
    facts : name of each result and its provenance
    problem : reason for which the result file is not read; empty if it is
    commands : that make the row again; empty if its options are not stored
    """

    number: int
    name: str
    row: Row
    cells: Sequence[Sequence[str]]
    deviations: Sequence[Deviation]
    figure: Figure | None
    networks: Networks | None
    facts: Sequence[tuple[str, Facts]]
    problem: str
    commands: Sequence[str]

    @property
    def title(self) -> str:
        """Names of its tables and figures, and what they are."""
        return _title(self.row)

    @property
    def missing(self) -> list[str]:
        """Parts that are not done, with the options of ``repsim reproduce`` that add them."""
        names = "|".join(OPTIONS.values())
        return [re.sub(rf"\b({names})=", r"--\1 ", part) for part in self.row["missing"]]

    @property
    def compared(self) -> int:
        """Count of the numbers that have a published one."""
        return sum(each["within"] is not None for each in self.row["quantities"])

    @property
    def within(self) -> int:
        """Count of the numbers within their tolerance."""
        return sum(each["within"] is True for each in self.row["quantities"])

    @property
    def provenance(self) -> list[str]:
        """Time, self-check and versions of its first result."""
        facts = self.facts[0][1] if self.facts else None
        whole, versions = (dict(facts.whole), dict(facts.versions)) if facts else ({}, {})
        names = ("created (UTC)", "self-check of the machine's arithmetic")
        return [*(whole.get(n, "–") for n in names), *(versions.get(n, "–") for n in VERSIONS)]

    @property
    def data(self) -> dict[str, Any]:
        """Tables that can be copied, for JSON."""
        tables = {"numbers": _numbers(self.name, self.row)}
        if self.networks is not None:
            tables["runs"] = self.networks.table
        return {"tables": {name: table_data(each) for name, each in tables.items()}}


def write_reproduction(folder: Path, path: Path) -> None:
    """Write the rows in a folder of ``repsim reproduce`` as one HTML page.

    The page says which rows, files and parts are missing.

    Parameters
    ----------
    folder : with ``reproduction.json``, and the results and figures of its rows
    path : of the page; its folder must exist

    Raises
    ------
    UsageError
        If the folder has no ``reproduction.json``, Jinja2 is not installed, or the path cannot be
        written.
    FileError
        If ``reproduction.json`` is not of ``repsim reproduce``.
    RepsimError
        If writing fails. What the path held before is unchanged.
    """
    rows = read_rows(folder)
    if not rows:
        raise UsageError(
            f"folder '{folder}' has no {JSON}, expected a folder of repsim reproduce; name it, or "
            ".nc files of repsim compare -o"
        )
    check_writable(path)
    name = folder.resolve().name
    every = {experiment.name: experiment for experiment in EXPERIMENTS}
    ordered = sorted(rows, key=lambda key: list(every).index(key) if key in every else len(every))
    sections = [
        _section(folder, number, key, rows[key], name) for number, key in enumerate(ordered, 1)
    ]
    missing = [experiment for experiment in EXPERIMENTS if experiment.name not in rows]
    write_page(
        path,
        "reproduction.html",
        [section.data for section in sections],
        folders=[TEMPLATES],
        sections=sections,
        header=HEADER,
        versions=VERSIONS,
        missing=missing,
        missing_commands=commands_for(
            _pending(rows, {each.name: each.uses for each in missing}), name, every
        ),
        commands=commands_for({key: rows[key] for key in ordered}, name, every),
        unknown=[section.name for section in sections if "options" not in section.row],
        page_command=shlex.join(["repsim", "report", name, "-o", path.name]),
    )


def _pending(rows: Mapping[str, Row], uses: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """Return missing rows, with the scale and options of the stored rows."""
    scale = next(iter(rows.values()))["scale"]
    known: dict[str, str] = {}
    for row in rows.values():
        if row["scale"] == scale:
            known = {**row.get("options", {}), **known}
    return {
        name: {"scale": scale, "options": {o: known[o] for o in sorted(used) if o in known}}
        for name, used in uses.items()
    }


def _title(row: Row) -> str:
    return f"{', '.join(row['names'])}: {row['title']}"


def _section(folder: Path, number: int, name: str, row: Row, folder_name: str) -> Section:
    results: dict[str, xr.Dataset] = {}
    problem = ""
    if row["quantities"]:  # else the file, if any, is of an earlier run
        try:
            results = _results(folder / f"{name}.nc")
        except RepsimError as error:
            problem = str(error).replace(str(folder), folder_name)
    return Section(
        number=number,
        name=name,
        row=row,
        cells=table(row),
        deviations=deviations_of(name, row),
        figure=_figure(folder / name, _title(row), f"r{number}") if row["figure"] else None,
        networks=_networks(results),
        facts=[(group, facts_of(result)) for group, result in results.items()],
        problem=problem,
        commands=commands_for({name: row}, folder_name, ()),
    )


def _results(path: Path) -> dict[str, xr.Dataset]:
    """Return the results of a file by their names. A single one has the name of the file."""
    groups = list_groups(path)
    if not groups:
        return {path.stem: open_result(path)}
    return {group: open_result(path, group) for group in groups}


def _networks(results: Mapping[str, xr.Dataset]) -> Networks | None:
    """Return the networks of all results that have any."""
    tables = {name: runs_of(result) for name, result in results.items() if "run_id" in result}
    columns = list(dict.fromkeys(column for each in tables.values() for column in each.columns))
    rows = [
        [name, *(cells.get(column, "") for column in columns)]
        for name, each in tables.items()
        for cells in (dict(zip(each.columns, row, strict=True)) for row in each.rows)
    ]
    if not rows:
        return None
    if len(results) == 1:
        return Networks(Table(columns, [cells for _, *cells in rows]))
    return Networks(Table(["result", *columns], rows))


def _figure(path: Path, title: str, prefix: str) -> Figure:
    """Return a stored figure as SVG, as PNG if that is too large, or the reason for its lack."""
    try:
        svg = path.with_suffix(".svg")
        if svg.stat().st_size <= MAX_SVG_BYTES:
            return Figure(title, inline_drawing(svg.read_bytes(), prefix, title))
        png = path.with_suffix(".png")
        if png.stat().st_size <= MAX_PNG_BYTES:
            return Figure(title, "", image=png_address(png.read_bytes()))
        note = f"{path.name}.svg and {path.name}.png are too large for a page"
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        note = f"{path.name}.svg cannot be read ({reason})"
    return Figure(title, "", note=note)


def _numbers(name: str, row: Row) -> Table:
    """Return the numbers of a row, not rounded."""
    reasons = {q: each.reason for each in deviations_of(name, row) for q in each.quantities}
    columns = ["quantity", "note", "published", "published sd", "source", "ours", "sd"]
    columns += ["measurements", "over", "within tolerance", "reason"]
    rows = []
    for each in row["quantities"]:
        published = each["published"] or {}
        rows.append(
            [
                *(each["quantity"], each["note"]),
                *(published.get("value"), published.get("sd"), published.get("where", "")),
                *(each["ours"], each["sd"], each["values"], each["over"]),
                {None: "", True: "yes", False: "no"}[each["within"]],
                reasons.get(each["quantity"], "") if each["within"] is False else "",
            ]
        )
    return Table(columns, rows)
