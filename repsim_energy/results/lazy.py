"""Result files that stay open, and whose variables are read when they are used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import FileError, UsageError, one_line_errors
from repsim_energy.files.hdf5 import refuse_parts_elsewhere
from repsim_energy.results.content import check_content
from repsim_energy.results.schema import SCHEMA_VERSION
from repsim_energy.results.version1 import from_version_1

if TYPE_CHECKING:
    import netCDF4
    import xarray as xr

__all__ = [
    "holds_groups",
    "in_present_form",
    "open_lazily",
    "place_of",
    "readable",
    "refuse_missing",
]


def open_lazily(path: Path, group: str | None) -> tuple[xr.Dataset, bool]:
    """Open a result file, and return the result and whether the file is sealed.

    Raises
    ------
    UsageError, FileError
        As :func:`repsim_energy.open_result`; also if the file changes meanwhile.
    """
    import netCDF4  # here, because most comparisons read no file
    import xarray as xr
    from xarray.backends import NetCDF4DataStore

    refuse_missing(path)
    with contextlib.ExitStack() as opened, one_line_errors(path, "netCDF4", "make it anew"):
        before = _state(path)
        with readable(path):
            sealed = check_content(path)
        with path.open("rb") as content:
            refuse_parts_elsewhere(content, path)
        file = opened.enter_context(netCDF4.Dataset(os.fspath(path)))
        if _state(path) != before:
            raise FileError(f"'{path}' was changed while it was opened; open it again")
        store = NetCDF4DataStore(place_of(file, path, group))  # type: ignore[no-untyped-call]
        result = in_present_form(xr.open_dataset(store), path)
        result.set_close(opened.pop_all().close)
        return result, sealed


def _state(path: Path) -> tuple[int, int, int, int]:
    """Return what identifies the content of a file without reading it."""
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def in_present_form(result: xr.Dataset, path: Path) -> xr.Dataset:
    """Return a result of any known schema version in the form of the present one.

    Raises
    ------
    FileError
        For another version, and for what is no result.
    """
    version = result.attrs.get("schema_version")
    if not isinstance(version, int | np.integer) or version > SCHEMA_VERSION:
        raise FileError(
            f"'{path}' has schema version {version}, expected up to {SCHEMA_VERSION} of a "
            "repsim-energy result; update repsim-energy or choose another file"
        )
    return from_version_1(result) if version == 1 else result


def refuse_missing(path: Path) -> None:
    """Refuse a path without a file.

    Raises
    ------
    UsageError
        If there is none.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no result at '{path}', expected a .nc file of repsim compare -o")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise ``FileError`` for a file that the system does not let us read."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror or error}); check its permissions"
        ) from error


def holds_groups(file: netCDF4.Dataset) -> bool:
    """Return whether a file holds several results, each in a group."""
    groups = list(file.groups)
    return bool(groups) and "schema_version" in file.groups[groups[0]].ncattrs()


def place_of(file: netCDF4.Dataset, path: Path, group: str | None) -> netCDF4.Dataset:
    """Return the root or the group that holds a result.

    Raises
    ------
    UsageError
        If there is no such group, or the group is left out and there are several.
    """
    groups = list(file.groups)
    if holds_groups(file) and group not in groups:
        raise UsageError(
            f"'{path}' holds several results, got group {group!r}, expected one of "
            f"{', '.join(groups)}"
        )
    if group is not None and not groups:
        raise UsageError(
            f"'{path}' holds one result without groups, got group {group!r}; leave it out"
        )
    return file if group is None else file.groups[group]
