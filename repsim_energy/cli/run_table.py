"""Table of the networks of a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.cli.tables import format_number, print_if_it_fits, print_rows

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["has_energy", "is_given", "print_runs"]


class Column(NamedTuple):
    """A column of the table of runs.

    Parameters
    ----------
    header : title of the column
    short : the title in a narrow terminal
    cell : the result of one run (its variables without dataset, model and seed) -> text
    needs : a variable; results without it have no such column
    """

    header: str
    short: str
    cell: Callable[[xr.Dataset], str]
    needs: str = "steps"


COLUMNS = (
    Column("steps", "steps", lambda run: _count(int(run.steps))),
    Column("train acc.", "train", lambda run: format_number(float(run.train_accuracy))),
    Column("test acc.", "test", lambda run: format_number(float(run.test_accuracy))),
    Column(
        "r with init",
        "r init",
        lambda run: format_number(float(run.init_similarity)),
        "init_similarity",
    ),
    Column("r with theory", "r theory", lambda run: format_number(_fit(run)), "fit_correlation"),
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
                if int(run.steps) < 0 and not has_energy(run):
                    continue
                prefix = f"{data} " if result.sizes["dataset"] > 1 else ""
                which = "(given)" if is_given(run) else f"seed {seed}"
                name = f"{prefix}{model} {which}"
                rows.append([name, *(column.cell(run) for column in columns)])
    if rows and not print_if_it_fits(["run", *(column.header for column in columns)], rows):
        print_rows(["run", *(column.short for column in columns)], rows, numbers=True)


def has_energy(run: xr.Dataset) -> bool:
    """Return whether a network has an energy profile."""
    return "energy" in run and bool(run.energy.notnull().any())


def _count(steps: int) -> str:
    return "-" if steps < 0 else str(steps)


def is_given(model: xr.Dataset) -> bool:
    """Return whether a model is given. Results of early versions do not say so: False."""
    return "given" in model and bool(model.given.all())
