"""Results and lists as tables on stdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["print_result", "print_rows"]

MOST_COLUMNS = 8
"""Groups up to which a table of all pairs has a column for each, with its spread."""


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def print_rows(header: list[str], rows: list[list[str]], title: str | None = None) -> None:
    """Print a table below its title."""
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    if title is not None:
        _console().print(title, markup=False)
    _console().print(table)


def print_result(result: xr.Dataset) -> None:
    """Print the similarity between models, within each on the diagonal, and the runs behind it."""
    from repsim_energy.results import summarise

    summary = summarise(result).dropna("group", how="all", subset=["mean"])
    summary = summary.sel(group_ref=summary.group.values)  # no layers that only other models have
    groups = [str(label) for label in summary.group.values]
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    title = f"{result.attrs['metric']} on {_datasets(result)}{stage}"
    if len(groups) > MOST_COLUMNS:
        _print_triangle(groups, summary["mean"].values, title)
    else:
        rows = [
            [
                group,
                *(
                    _number(float(summary["mean"][i, j]), float(summary["spread"][i, j]))
                    for j in range(len(groups))
                ),
            ]
            for i, group in enumerate(groups)
        ]
        print_rows(["", *groups], rows, title)
    low, high = (float(summary[name].mean()) for name in ("null_low", "null_high"))
    print_runs(result)
    if "first_layers" in result.attrs:
        pairs = zip(result.model.values, result.attrs["first_layers"].split(","), strict=True)
        taken = ", ".join(f"{layer} of {model}" for model, layer in pairs)
        _console().print(f"filters of {taken}", markup=False)
    band = f"95% between {low:.3f} and {high:.3f}" if low < high else "no null band is known"
    _console().print(
        f"mean ± sd over pairs of seeds, on the diagonal across seeds; unrelated networks: {band}"
    )


def _print_triangle(groups: list[str], values: NDArray[np.float64], title: str) -> None:
    """Print one half of a large symmetric table, its columns numbered as the rows are."""
    width = max(len(group) for group in groups)
    lines = [title, " " * (width + 4) + "".join(f"{j:>6}" for j in range(1, len(groups) + 1))]
    for i, group in enumerate(groups):
        numbers = (f"{_number(float(value), digits=2):>6}" for value in values[i, : i + 1])
        lines.append(f"{i + 1:>3} {group:<{width}}" + "".join(numbers))
    for line in lines:
        _console().print(line, markup=False, soft_wrap=True)


def print_runs(result: xr.Dataset) -> None:
    """Print a line per run."""
    header = ["run", "steps", "train acc.", "test acc."]
    if "energy" in result:
        header += ["r with init", "r with theory"]
    rows = []
    for d, data in enumerate(result.dataset.values):
        for m, model in enumerate(result.model.values):
            for s, seed in enumerate(result.seed.values):
                run = result.isel(dataset=d, model=m, seed=s)
                if int(run.steps) < 0 and not _has_energy(run):
                    continue
                prefix = f"{data} " if result.sizes["dataset"] > 1 else ""
                row = [f"{prefix}{model} seed {seed}", _count(int(run.steps))]
                row += [_number(float(run[n])) for n in ("train_accuracy", "test_accuracy")]
                if "energy" in result:
                    fit = run.fit_correlation.sel(stage=result.attrs["stage"])
                    row += [_number(float(run.init_similarity)), _number(float(fit))]
                rows.append(row)
    print_rows(header, rows)


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
