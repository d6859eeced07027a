"""What readers of a result rely on: labels that occur once, and numbers that are numbers."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr

from repsim_energy.errors import UsageError
from repsim_energy.results.grid import axes_in

__all__ = ["check_whole", "numbers_of", "refuse_grid"]

NOT_EMPTY = ("dataset", "model", "component")
"""Dimensions along which every result has something."""


def check_whole(result: xr.Dataset) -> None:
    """Refuse what no result is: labels that occur twice, no networks, complex numbers or objects.

    Rows are joined by their labels. One that occurs twice would be joined with both of its kind.

    Raises
    ------
    UsageError
        If so.
    """
    if not isinstance(result, xr.Dataset):
        raise UsageError(
            f"got a {type(result).__name__}, expected a result of compare; open files with "
            "rs.open_result"
        )
    for dim in map(str, result.dims):
        labels = result[dim].values.tolist() if dim in result.coords else []
        if len(set(labels)) < len(labels):
            raise UsageError(
                f"got a result whose labels of '{dim}' occur more than once, expected each once; "
                "join results along another dimension, or rename"
            )
        if dim in NOT_EMPTY and not result.sizes[dim]:
            raise UsageError(f"got a result without any '{dim}', expected one; select less")
    for name, variable in result.variables.items():
        objects = variable.dtype.kind == "O" and not all(
            isinstance(value, str) for value in variable.values.ravel()
        )
        if objects or variable.dtype.kind not in "OUSfiubMm":
            raise UsageError(
                f"'{name}' in the result holds {variable.dtype}, expected real numbers or texts; "
                "compare again"
            )


def refuse_grid(result: xr.Dataset) -> None:
    """Refuse a sweep, of which only one point is a comparison.

    Raises
    ------
    UsageError
        If so, with the selection of its first point.
    """
    if dims := axes_in(result):
        first = ", ".join(f"{dim}={result[dim].values[:1].tolist()[0]!r}" for dim in dims)
        raise UsageError(
            f"got a sweep over {', '.join(dims)}, expected one point of it; select it, such as "
            f"result.sel({first})"
        )


def numbers_of(result: xr.Dataset, name: str, dims: Collection[str] = ()) -> xr.DataArray:
    """Return a variable of a result after checking that it has real numbers along some dimensions.

    Parameters
    ----------
    dims : that it must have, among others

    Raises
    ------
    UsageError
        If it is missing, holds other things than numbers, infinite ones, or lacks a dimension.
    """
    if name not in result:
        raise UsageError(f"got a result without '{name}', expected a whole one; compare again")
    values = result[name]
    if values.dtype.kind not in "fiub":
        raise UsageError(
            f"'{name}' in the result holds {values.dtype}, expected numbers; compare again"
        )
    if lacking := sorted({*dims} - {*map(str, values.dims)}):
        raise UsageError(
            f"'{name}' in the result has no dimension '{lacking[0]}' but {tuple(values.dims)}; "
            "select with a list, such as isel(model=[0]), to keep it"
        )
    if values.dtype.kind == "f" and bool(np.isinf(values.values).any()):
        raise UsageError(
            f"'{name}' in the result holds infinite numbers, expected finite ones or NaN; compare "
            "again"
        )
    return values
