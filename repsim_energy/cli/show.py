"""``repsim show``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.cli.compare import report_failures
from repsim_energy.cli.messages import say
from repsim_energy.cli.result_text import print_result
from repsim_energy.cli.sweep_text import point_of
from repsim_energy.cli.tables import print_json, print_rows
from repsim_energy.errors import UsageError, unknown_name

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["show"]

DIGITS = 6
"""Significant digits of numbers that are printed as text."""

IN_TITLE = ("dataset", "dataset_ref", "stage")
"""Columns that are printed in the title of a table if all rows have the same label."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.nc")
@click.option(
    "--group", metavar="NAME", help="Which result of a file of several, such as of reproduce."
)
@click.option(
    "--what",
    metavar="NAME",
    help="One table in full: similarity (all pairs), profiles (at the compared stage), runs, or "
    "the name of a variable. [default: the table of repsim compare; with --csv: similarity]",
)
@click.option(
    "--at",
    "at",
    multiple=True,
    metavar="OPTION=VALUE",
    help="Point of a sweep, such as recipe.lr=0.1, repeatable. [default: a row for each point]",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print as CSV, with all digits.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with all digits.")
@click.pass_context
def show(
    ctx: click.Context,
    /,
    file: Path,
    group: str | None,
    what: str | None,
    at: Sequence[str],
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print a stored result as repsim compare printed it, or one table of it.

    Example: repsim show result.nc --what profiles --csv
    """
    if as_csv and as_json:
        raise UsageError("got --csv and --json, expected one of them")
    if group is None and (groups := lazy.results.list_groups(file)):
        if what is not None or as_csv or as_json:
            raise UsageError(
                f"'{file}' has several results, expected --group {' or --group '.join(groups)}"
            )
        _print_groups(file, groups)
        return
    result = point_of(rs.open_result(file, group), at)
    if as_csv:
        _print_csv(_frame(result, what or "similarity"))
    elif as_json and what is None:
        print_json(result)
    elif as_json:
        records = _frame(result, str(what)).to_dict("records")
        click.echo(json.dumps(lazy.results.plain(records), indent=1))
    elif what is not None:
        _print_frame(_frame(result, what), what)
    elif {"similarity", "mean_similarity"} & {*result.data_vars}:
        print_result(result)
    else:
        _print_variables(result)
    report_failures(ctx, result.attrs.get("failures", "").splitlines())


def _print_groups(file: Path, groups: list[str]) -> None:
    rows = []
    for group in groups:
        result = rs.open_result(file, group)
        dims = ", ".join(f"{size} {dim}" for dim, size in _own_sizes(result).items())
        rows.append([group, str(result.attrs.get("metric", "-")), dims])
    print_rows(["group", "metric", "sizes"], rows)
    say(f"'{file}' has several results; show one of them with --group {groups[0]}")


def _own_sizes(result: xr.Dataset) -> dict[str, int]:
    return {str(dim): n for dim, n in result.sizes.items() if not str(dim).endswith("_ref")}


def _print_variables(result: xr.Dataset) -> None:
    """Print the variables of a result that compares no networks."""
    rows = [
        [str(name), ", ".join(map(str, variable.dims)), str(variable.attrs.get("long_name", ""))]
        for name, variable in result.data_vars.items()
    ]
    print_rows(["variable", "dimensions", "content"], rows)
    say(f"this result compares no networks; show a variable with --what {rows[0][0]}")


def _frame(result: xr.Dataset, what: str) -> pd.DataFrame:
    """Return the table of this name."""
    if what == "similarity":
        frame = rs.pairs(result)
        if frame.empty:
            say("there is no pair of different networks in this result; --what profiles or runs")
        return frame
    if what == "profiles":
        return rs.profiles(result)
    if what == "runs":
        return lazy.results.runs(result)
    if what not in result.variables:
        raise unknown_name("table", what, ["runs", "profiles", *map(str, result.variables)])
    return rs.to_dataframe(result, what)


def _print_csv(frame: pd.DataFrame) -> None:
    """Print a table as RFC 4180 has it: UTF-8, lines that end in CR LF, empty for NaN."""
    text = io.StringIO(newline="")
    frame.to_csv(text, index=False, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    click.echo(text.getvalue().encode(), nl=False)


def _print_frame(frame: pd.DataFrame, what: str) -> None:
    """Print a table without the coordinates, which are behind the column of a variable."""
    if what in frame.columns and what not in ("similarity", "profiles", "runs"):
        frame = frame.iloc[:, : list(frame.columns).index(what) + 1]
    same = [name for name in IN_TITLE if name in frame and frame[name].nunique() == 1]
    title = ", ".join([what, *(f"{name} {frame[name].iloc[0]}" for name in same)])
    frame = frame.drop(columns=same)
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    print_rows([str(name) for name in frame.columns], rows, title, numbers=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.{DIGITS}g}"
    return str(value)
