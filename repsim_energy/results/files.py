"""Result files: written and read as netCDF4, with a checksum."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import NetCDF4DataStore

from repsim_energy.errors import (
    FileError,
    RepsimError,
    UsageError,
    one_line_errors,
    reason_of,
    warn,
)
from repsim_energy.files.hdf5 import refuse_parts_elsewhere
from repsim_energy.files.seals import copy_sealed
from repsim_energy.files.storage import atomic_path, check_writable, temporary_folder
from repsim_energy.numerics.memory import available_memory
from repsim_energy.results.content import Stored, read_content
from repsim_energy.results.lazy import (
    holds_groups,
    in_present_form,
    open_lazily,
    place_of,
    readable,
    refuse_missing,
)

if TYPE_CHECKING:
    import netCDF4

__all__ = ["list_groups", "open_result", "plain", "save_result", "save_results", "to_json"]


def save_result(result: xr.Dataset, path: str | Path) -> None:
    """Write a result as a netCDF4 file that ends with the SHA-256 of its content.

    The file is written under another name and then renamed: whoever stops the process finds the old
    file or the whole new one.

    Parameters
    ----------
    result : of :func:`repsim_energy.compare`
    path : of the file, such as ``result.nc``; its folder must exist

    Raises
    ------
    UsageError
        If ``result`` is no ``xarray.Dataset``, or the path cannot be written.
    RepsimError
        If writing fails, for example on a full disk. What the path held before is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank, images = torch.rand(4, 1, 2, 2), torch.rand(20, 1, 6, 6)
    >>> result = rs.compare({"mine": bank}, images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rs.save_result(result, f"{folder}/result.nc")
    ...     rs.open_result(f"{folder}/result.nc").identical(result)
    True
    """
    save_results({"": result}, path)


def save_results(results: Mapping[str, xr.Dataset], path: str | Path) -> None:
    """Write several results into one file.

    Parameters
    ----------
    results : name of a group of the file -> result; the name ``""`` is the root group

    Raises
    ------
    UsageError, RepsimError
        As :func:`save_result`.
    """
    for result in results.values():
        if not isinstance(result, xr.Dataset):
            raise UsageError(
                f"got a result of type {type(result).__name__}, expected the xarray.Dataset that "
                "compare returns; save that"
            )
    path = Path(path)
    check_writable(path)
    try:
        with temporary_folder() as folder:
            content = folder / "results.nc"
            _write_netcdf(results, content)
            with content.open("rb") as source, atomic_path(path) as temporary:
                copy_sealed(source, temporary)
    except (OSError, RuntimeError) as error:  # netCDF has no word for a full disk
        raise RepsimError(
            f"'{path}' could not be written ({reason_of(error)}), perhaps because the folder for "
            f"temporary files '{tempfile.gettempdir()}' is full; TMPDIR names another"
        ) from error
    except (TypeError, ValueError) as error:  # what netCDF has no type for
        raise UsageError(
            f"the result cannot be stored ({reason_of(error)}), expected numbers and texts, as "
            "compare returns them"
        ) from error


def _write_netcdf(results: Mapping[str, xr.Dataset], path: Path) -> None:
    """Write the netCDF4 content of a file of results, one variable after the other.

    The file is a temporary one, because netCDF reports a full disk by no clear error and refuses
    file names that are not UTF-8.
    """
    for number, (group, result) in enumerate(results.items()):
        encoding: dict[Hashable, dict[str, Any]] = {
            name: {"zlib": True, "fletcher32": True}
            for name, variable in result.variables.items()
            if variable.dtype.kind in "fiu" and variable.ndim
        }
        result.to_netcdf(
            path,
            mode="a" if number else "w",
            group=group or None,
            engine="netcdf4",
            format="NETCDF4",
            encoding=encoding,
        )


def open_result(path: str | Path, group: str | None = None, *, lazy: bool = False) -> xr.Dataset:
    """Read a result file.

    A file that :func:`save_result` wrote is compared with its SHA-256 before anything else of it is
    read. Files of earlier schema versions are returned in the form of the present one.

    Parameters
    ----------
    path : of a file that :func:`save_result`, ``repsim compare -o`` or ``repsim reproduce`` wrote
    group : name of one of several results in the file, such as ``cifar10`` in ``table1.nc``;
        ``None`` for a file of one result
    lazy : whether each variable is read when it is first used, for files larger than the memory.
        The whole file is compared with its SHA-256 first, part by part, and stays open: close the
        result, or use it in a ``with`` statement. Changes of the file after that are found by the
        checksums that HDF5 has of numbers alone, as an error of netCDF

    Returns
    -------
    xarray.Dataset
        The result, as :func:`repsim_energy.compare` returned it.

    Raises
    ------
    UsageError
        If there is no such file or group, or ``group`` is left out and there are several.
    FileError
        If the file is damaged, no result of this package, of a later schema version, or larger than
        the free memory.

    Warns
    -----
    RepsimWarning
        If the file has no SHA-256, because other software wrote it: damage would go unnoticed.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank, images = torch.rand(4, 1, 2, 2), torch.rand(20, 1, 6, 6)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rs.save_result(rs.compare({"mine": bank}, images), f"{folder}/result.nc")
    ...     list(rs.open_result(f"{folder}/result.nc").energy.sizes.items())
    [('dataset', 1), ('model', 1), ('seed', 1), ('stage', 3), ('component', 4)]
    """
    path = Path(path)
    if lazy:
        result, sealed = open_lazily(path, group)
    else:
        stored = _stored(path)
        sealed = stored.sealed
        with _opened(path, stored) as file:
            store = NetCDF4DataStore(place_of(file, path, group))  # type: ignore[no-untyped-call]
            result = in_present_form(_loaded(xr.open_dataset(store), path), path)
    if not sealed:
        warn(
            f"'{path}' has no checksum, because other software wrote it, so damage would go "
            "unnoticed; write it with repsim_energy.save_result to add one"
        )
    return result


def _loaded(file: xr.Dataset, path: Path) -> xr.Dataset:
    """Return a data set in memory, if its declared size fits."""
    if file.nbytes > (free := available_memory()):
        raise FileError(
            f"'{path}' declares {file.nbytes / 1e9:.1f} GB of numbers, expected at most the "
            f"{free / 1e9:.1f} GB of memory that are free; it may be damaged, restore a copy"
        )
    return file.load()


def list_groups(path: str | Path) -> list[str]:
    """Return the names of the results in a file, none for a file of one result without a name.

    Raises
    ------
    UsageError, FileError
        As :func:`open_result`.
    """
    path = Path(path)
    with _opened(path, _stored(path)) as file:
        return list(file.groups) if holds_groups(file) else []


def _stored(path: Path) -> Stored:
    refuse_missing(path)
    with readable(path):
        return read_content(path)


@contextlib.contextmanager
def _opened(path: Path, stored: Stored) -> Iterator[netCDF4.Dataset]:
    """Provide the content of a file, and raise ``FileError`` for whatever fails in reading it."""
    import netCDF4  # here, because most comparisons read no file

    with one_line_errors(path, "netCDF4", "make it anew"):
        refuse_parts_elsewhere(io.BytesIO(stored.content), path)
        with netCDF4.Dataset("results.nc", memory=stored.content) as file:
            yield file


def to_json(result: xr.Dataset) -> str:
    """Return a result as JSON text, with null for undefined and infinite numbers."""
    return json.dumps(plain(result.to_dict()), indent=1)


def plain(value: Any) -> Any:
    """Return a value of lists and mappings for JSON, with ``None`` for undefined numbers."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
