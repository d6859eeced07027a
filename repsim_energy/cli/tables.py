"""Results and lists as tables on stdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["print_result", "print_rows"]


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

    summary = summarise(result)
    groups = [str(label) for label in summary.group.values]
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
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    print_rows(["", *groups], rows, f"{result.attrs['metric']} on {_datasets(result)}{stage}")
    low, high = (float(summary[name].mean()) for name in ("null_low", "null_high"))
    print_runs(result)
    if "first_layers" in result.attrs:
        pairs = zip(result.model.values, result.attrs["first_layers"].split(","), strict=True)
        taken = ", ".join(f"{layer} of {model}" for model, layer in pairs)
        _console().print(f"filters of {taken}", markup=False)
    _console().print(
        f"mean ± sd over pairs of seeds, on the diagonal across seeds; unrelated networks: 95% "
        f"between {low:.3f} and {high:.3f}"
    )


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


def _number(value: float, spread: float = math.nan) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"
