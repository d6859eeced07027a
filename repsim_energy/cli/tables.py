"""Tables of results and lists, printed on stdout."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import rich_click as click
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

import repsim_energy as rs
from repsim_energy.errors import visible
from repsim_energy.results.nulls import null_in_words

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["print_json", "print_result", "print_rows", "print_runs"]

MAX_COLUMNS = 8
"""Maximum number of columns of the table of all pairs. Larger tables are printed as one half."""


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def print_rows(
    header: list[str], rows: list[list[str]], title: str | None = None, *, numbers: bool = False
) -> None:
    """Print a table below its title.

    Parameters
    ----------
    numbers : whether all columns but the first hold numbers, which are never broken into lines
    """
    if title is not None:
        _print_line(title)
    _console().print(_table(header, rows, numbers))


def _table(header: list[str], rows: list[list[str]], numbers: bool) -> Table:
    """Return a table that shows its texts literally, without rich's markup."""
    table = Table()
    for number, name in enumerate(header):
        table.add_column(Text(visible(name)), overflow="fold", no_wrap=numbers and number > 0)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _print_line(text: str) -> None:
    _console().print(Text(visible(text)), soft_wrap=True)


def print_json(result: xr.Dataset) -> None:
    """Print a result as JSON."""
    from repsim_energy.results import to_json  # here, so that other commands start fast

    click.echo(to_json(result))


def print_result(result: xr.Dataset) -> None:
    """Print the similarities between models (of one model across seeds on the diagonal), and runs.

    For a single model the energy profile is printed too.
    """
    summary = _summary(result, "similarity")
    groups = [str(label) for label in summary.group.values]
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    title = f"{result.attrs['metric']} on {_datasets(result)}{stage}"
    if groups:
        _print_similarities(summary, title)
    else:
        _print_line(title)
    _print_beyond_theory(result)
    print_runs(result)
    precision = json.loads(result.attrs["configuration"])["recipe"]["precision"]
    if precision != "float32" and bool((result.steps > 0).any()):
        _print_line(f"trained in {precision}")
    if layers := _of_models(result, "first_layer"):
        _print_line(f"filters of layer {layers}")
    if folded := _of_models(result, "folded"):
        _print_line(f"folded into them: {folded}")
    if result.sizes["model"] * result.sizes["dataset"] * result.sizes.get("layer", 1) == 1:
        _print_alone(result, compared=bool(groups))
    if groups:
        low, high = _null_interval(summary)
        band = (
            f"95% between {low:.3f} and {high:.3f}" if low < high else "no null interval is known"
        )
        _print_line(f"{_averaged(result)}; {null_in_words(result)}: {band}")


def _summary(result: xr.Dataset, of: str) -> xr.Dataset:
    """Return the means over seeds, without layers that only other models have."""
    summary = rs.summarize(result, of).dropna("group", how="all", subset=["mean"])
    return summary.sel(group_ref=summary.group.values)


def _print_beyond_theory(result: xr.Dataset) -> None:
    """Print what filters share beyond the theory, and whom that leaves out."""
    if "beyond_theory" not in result or not bool(result.null_low.notnull().any()):
        return
    if not bool(result.beyond_null_low.notnull().any()):
        described = int(result.theory_residual.notnull().any("component").sum())
        _print_line(
            f"no r beyond theory: the theory describes {described or 'none'} of the networks"
        )
        return
    summary = _summary(result, "beyond_theory")
    low, high = _null_interval(summary)
    _print_similarities(
        summary, f"r beyond theory; 95% of networks that share no more: {low:.3f} to {high:.3f}"
    )
    _print_left_out(result)


def _print_left_out(result: xr.Dataset) -> None:
    """Print how many networks and components have no number beyond the theory."""
    stage = result.attrs["stage"]
    has_energy, known = result.energy.sel(stage=stage).notnull(), result.theory_residual.notnull()
    described = known.any("component")
    left_out = int((has_energy.any("component") & ~described).sum())
    if left_out:
        one = left_out == 1
        _print_line(
            f"left out: {left_out} network{'' if one else 's'} that the theory does not describe, "
            "by r with theory"
        )
    without = int((has_energy & ~known).sum("component").where(described, 0).max())
    if without:
        _print_line(f"left out: up to {without} components of a network, which have no energy")


def _print_alone(result: xr.Dataset, *, compared: bool) -> None:
    """Print the energy profile of a single model, and that it has none to be compared with."""
    model = str(result.model.values[0])
    if _has_energy(result):
        profile = result.energy.sel(stage=result.attrs["stage"]).mean("seed").values.ravel()
        largest = max((value for value in profile if value > 0), default=1.0)
        _print_line(f"energy profile of {model}, components 1 to {len(profile)}, largest = 1:")
        numbers = " ".join(_number(float(value / largest)) for value in profile)
        for line in textwrap.wrap(numbers, min(_console().width, 78)):
            _print_line(f"  {line}")
    own = " but its own seeds" if compared else ""
    _print_line(f"nothing to compare {model} with{own}; name another model with --models")


def _averaged(result: xr.Dataset) -> str:
    """Return over what the numbers of the table are averaged. Given networks have no seeds."""
    given = [str(model) for model in result.model.values if _is_given(result.sel(model=model))]
    if len(given) == result.sizes["model"]:
        return "every network is given, so that there are no seeds to average over"
    seeds = "mean ± sd over pairs of seeds, on the diagonal across seeds"
    return f"{seeds} (given, and thus one network: {', '.join(given)})" if given else seeds


def _is_given(model: xr.Dataset) -> bool:
    """Return whether a model is given. Results of early versions do not say so: False."""
    return "given" in model and bool(model.given.all())


def _of_models(result: xr.Dataset, coordinate: str) -> str:
    """Return the fact of each model as text, without models that have none."""
    if coordinate not in result.coords:
        return ""
    pairs = zip(result[coordinate].values, result.model.values, strict=True)
    return ", ".join(f"{fact} of {model}" for fact, model in pairs if fact)


def _null_interval(summary: xr.Dataset) -> tuple[float, float]:
    """Return the mean ends of the null intervals of a summary."""
    return float(summary.null_low.mean()), float(summary.null_high.mean())


def _print_similarities(summary: xr.Dataset, title: str) -> None:
    """Print the table of all pairs in the first form that fits the terminal.

    The forms are: columns titled by the groups; columns titled by numbers with a legend; one half
    of the table without spreads.
    """
    groups = [str(label) for label in summary.group.values]
    means, spreads = summary["mean"].values, summary["spread"].values
    console = _console()
    cells = [
        [_number(float(mean), float(spread)) for mean, spread in zip(*pair, strict=True)]
        for pair in zip(means, spreads, strict=True)
    ]
    names = [str(number) for number in range(1, len(groups) + 1)]
    for labels in (groups, names) if len(groups) <= MAX_COLUMNS else ():
        rows = [[label, *row] for label, row in zip(labels, cells, strict=True)]
        table = _table(["", *labels], rows, numbers=True)
        if console.measure(table, options=_unlimited(console)).maximum <= console.width:
            _print_line(title)
            console.print(table)
            break
    else:
        _print_triangle(groups, means, title, console.width if console.is_terminal else None)
        return
    if labels is names:
        for name, group in zip(names, groups, strict=True):
            _print_line(f"{name:>3} {group}")


def _unlimited(console: Console) -> ConsoleOptions:
    return console.options.update(width=10_000)


def _print_triangle(
    groups: list[str], values: NDArray[np.float64], title: str, most: int | None
) -> None:
    """Print one half of a symmetric table with numbered rows and columns.

    Parameters
    ----------
    most : width of the terminal in characters, if it is one; names of rows that do not fit are
        printed below the table
    """
    groups = [visible(group) for group in groups]
    longest = max(len(group) for group in groups)
    numbers_alone = 4 + 6 * len(groups)
    legend = most is not None and numbers_alone <= most < numbers_alone + longest
    width = 0 if legend else longest
    lines = [title, " " * (width + 4) + "".join(f"{j:>6}" for j in range(1, len(groups) + 1))]
    for i, group in enumerate(groups):
        numbers = (f"{_number(float(value), digits=2):>6}" for value in values[i, : i + 1])
        lines.append(f"{i + 1:>3} {'' if legend else group:<{width}}" + "".join(numbers))
    if legend:
        lines += [f"{i + 1:>3} {group}" for i, group in enumerate(groups)]
    for line in lines:
        _print_line(line)


class Column(NamedTuple):
    """A column of the table of runs.

    Parameters
    ----------
    header : title of the column
    cell : the result of one run (its variables without dataset, model and seed) -> text
    needs : a variable; results without it have no such column
    """

    header: str
    cell: Callable[[xr.Dataset], str]
    needs: str = "steps"


COLUMNS = (
    Column("steps", lambda run: _count(int(run.steps))),
    Column("train acc.", lambda run: _number(float(run.train_accuracy))),
    Column("test acc.", lambda run: _number(float(run.test_accuracy))),
    Column("r with init", lambda run: _number(float(run.init_similarity)), "init_similarity"),
    Column("r with theory", lambda run: _number(_fit(run)), "fit_correlation"),
)


def _fit(run: xr.Dataset) -> float:
    return float(run.fit_correlation.sel(stage=run.attrs["stage"]))


def print_runs(result: xr.Dataset) -> None:
    """Print one line per run."""
    columns = [column for column in COLUMNS if column.needs in result]
    rows = []
    for d, data in enumerate(result.dataset.values):
        for m, model in enumerate(result.model.values):
            for s, seed in enumerate(result.seed.values):
                run = result.isel(dataset=d, model=m, seed=s)
                if int(run.steps) < 0 and not _has_energy(run):
                    continue
                prefix = f"{data} " if result.sizes["dataset"] > 1 else ""
                which = "(given)" if _is_given(run) else f"seed {seed}"
                name = f"{prefix}{model} {which}"
                rows.append([name, *(column.cell(run) for column in columns)])
    print_rows(["run", *(column.header for column in columns)], rows, numbers=True)


def _has_energy(run: xr.Dataset) -> bool:
    return "energy" in run and bool(run.energy.notnull().any())


def _datasets(result: xr.Dataset) -> str:
    return ", ".join(str(name) for name in result.dataset.values)


def _count(steps: int) -> str:
    return "-" if steps < 0 else str(steps)


def _number(value: float, spread: float = math.nan, digits: int = 3) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"
