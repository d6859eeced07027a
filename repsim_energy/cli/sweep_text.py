"""A sweep on stdout: a row for each point."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.cli.tables import format_number, print_if_it_fits, print_line, print_rows
from repsim_energy.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["point_of", "print_sweep"]

COLUMNS = {
    "r of a model's seeds": "r seeds",
    "r of two models": "r models",
    "r with theory": "r theory",
    "train acc.": "train",
    "test acc.": "test",
    "failed": "failed",
}
"""Title of a column -> the title in a narrow terminal."""


def print_sweep(result: xr.Dataset) -> None:
    """Print a table with a row for each point of a sweep.

    Parameters
    ----------
    result : of ``rs.sweep``
    """
    options = lazy.results.axes_in(result)
    dims = list(options)
    rows, numbers = [], []
    for at in itertools.product(*(range(result.sizes[dim]) for dim in dims)):
        point = lazy.results.as_comparison(result.isel(dict(zip(dims, at, strict=True))))
        rows.append([str(point[dim].item()) for dim in dims])
        numbers.append(_numbers(point))
    shown = [i for i in range(len(COLUMNS)) if any(one[i] not in ("-", "0") for one in numbers)]
    rows = [[*row, *(one[i] for i in shown)] for row, one in zip(rows, numbers, strict=True)]
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    datasets = ", ".join(map(str, result.dataset.values))
    metric = result.attrs.get("metric", "similarity")
    print_line(f"{metric} of {', '.join(map(str, result.model.values))}")
    print_line(f"on {datasets}{stage}, means over {result.sizes['seed']} seeds")
    titles, short = list(COLUMNS), list(COLUMNS.values())
    header = [*(options[dim] for dim in dims), *(titles[i] for i in shown)]
    if not print_if_it_fits(header, rows):
        names = [options[dim].partition(".")[2] for dim in dims]
        print_rows([*names, *(short[i] for i in shown)], rows, numbers=True)
    first = " ".join(
        f"--at {options[dim]}={cell}" for dim, cell in zip(dims, rows[0], strict=False)
    )
    print_line(f"one point in full: repsim show FILE.nc {first}")


def point_of(result: xr.Dataset, at: Sequence[str]) -> xr.Dataset:
    """Return the part of a sweep at some values.

    Parameters
    ----------
    at : values such as ``recipe.lr=0.1``

    Raises
    ------
    UsageError
        For another option or value, and for a result that is no sweep.
    """
    dims = {option: dim for dim, option in lazy.results.axes_in(result).items()}
    for text in at:
        option, _, value = text.partition("=")
        if option not in dims:
            raise UsageError(
                f"got --at {text}, expected OPTION=VALUE with one of the varied options, which "
                f"are {', '.join(dims) or 'none: this result is no sweep, leave it out'}"
            )
        labels = result[dims[option]].values.tolist()
        places = [i for i, label in enumerate(labels) if _is(label, value)]
        if not places:
            raise UsageError(
                f"got --at {text}, expected one of the values {', '.join(map(str, labels))}"
            )
        result = result.isel({dims.pop(option): places[0]})
    return lazy.results.as_comparison(result)


def _is(label: float | str, text: str) -> bool:
    """Return whether a text means a label."""
    with contextlib.suppress(ValueError):
        return label == (text if isinstance(label, str) else float(text))
    return False


def _numbers(point: xr.Dataset) -> list[str]:
    """Return the cells of a point behind its values."""
    summary = rs.summarize(point)
    mean = summary["mean"].values
    own, others = np.diag(mean), mean[np.triu_indices(len(mean), 1)]
    theory = (
        point.fit_correlation.sel(stage=point.attrs["stage"])
        if "fit_correlation" in point and "stage" in point.attrs
        else np.nan
    )
    failed = int(((point.steps < 0) & (point.given == 0)).sum())
    found = (own, others, theory, point.train_accuracy, point.test_accuracy)
    return [*(format_number(_mean(values)) for values in found), str(failed)]


def _mean(values: object) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
        return float(np.nanmean(np.asarray(values, dtype=float)))
