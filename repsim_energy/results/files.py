"""Result files: written and read as netCDF4, with a checksum."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.backends import NetCDF4DataStore

from repsim_energy.errors import FileError, RepsimError, RepsimWarning, UsageError, reason_of
from repsim_energy.hdf5 import refuse_parts_elsewhere
from repsim_energy.numerics.memory import available_memory
from repsim_energy.results.content import Stored, read_content
from repsim_energy.results.schema import SCHEMA_VERSION
from repsim_energy.results.version1 import from_version_1
from repsim_energy.seals import sealed
from repsim_energy.storage import atomic_path, check_writable, temporary_folder

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
        content = _as_bytes(results)
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
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(sealed(content))


def _as_bytes(results: Mapping[str, xr.Dataset]) -> bytes:
    """Return the netCDF4 content of a file of results.

    netCDF writes it to a temporary file, because netCDF reports a full disk by no clear error and
    refuses file names that are not UTF-8.
    """
    with temporary_folder() as folder:
        path = folder / "results.nc"
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
        return path.read_bytes()


def open_result(path: str | Path, group: str | None = None) -> xr.Dataset:
    """Read a result file into memory.

    A file that :func:`save_result` wrote is compared with its SHA-256 before anything else of it is
    read. Files of earlier schema versions are returned in the form of the present one.

    Parameters
    ----------
    path : of a file that :func:`save_result`, ``repsim compare -o`` or ``repsim reproduce`` wrote
    group : name of one of several results in the file, such as ``cifar10`` in ``table1.nc``;
        ``None`` for a file of one result

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
    stored = _stored(path)
    with _opened(path, stored) as file:
        store = NetCDF4DataStore(_place(file, path, group))  # type: ignore[no-untyped-call]
        result = _loaded(xr.open_dataset(store), path)
        version = result.attrs.get("schema_version")
        known = isinstance(version, int | np.integer) and version <= SCHEMA_VERSION
        if known and version == 1:
            result = from_version_1(result)
    if not known:
        raise FileError(
            f"'{path}' has schema version {version}, expected up to {SCHEMA_VERSION} of a "
            "repsim-energy result; update repsim-energy or choose another file"
        )
    if not stored.sealed:
        warnings.warn(
            f"'{path}' has no checksum, because other software wrote it, so damage would go "
            "unnoticed; write it with repsim_energy.save_result to add one",
            RepsimWarning,
            stacklevel=2,
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
        return list(file.groups) if _holds_groups(file) else []


def _stored(path: Path) -> Stored:
    if not os.path.isfile(path):
        raise UsageError(f"no result at '{path}', expected a .nc file of repsim compare -o")
    try:
        return read_content(path)
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror or error}); check its permissions"
        ) from error


@contextlib.contextmanager
def _opened(path: Path, stored: Stored) -> Iterator[netCDF4.Dataset]:
    """Provide the content of a file, and raise ``FileError`` for whatever fails in reading it."""
    import netCDF4  # here, because most comparisons read no file

    try:
        refuse_parts_elsewhere(io.BytesIO(stored.content), path)
        with netCDF4.Dataset("results.nc", memory=stored.content) as file:
            yield file
    except RepsimError:
        raise
    except Exception as error:  # damage comes out as any error of netCDF4, xarray and NumPy
        raise FileError(
            f"'{path}' cannot be read as netCDF4 ({reason_of(error)}); make it anew"
        ) from error


def _holds_groups(file: netCDF4.Dataset) -> bool:
    groups = list(file.groups)
    return bool(groups) and "schema_version" in file.groups[groups[0]].ncattrs()


def _place(file: netCDF4.Dataset, path: Path, group: str | None) -> netCDF4.Dataset:
    """Return the root or the group that holds a result."""
    groups = list(file.groups)
    if _holds_groups(file) and group not in groups:
        raise UsageError(
            f"'{path}' holds several results, got group {group!r}, expected one of "
            f"{', '.join(groups)}"
        )
    if group is not None and not groups:
        raise UsageError(
            f"'{path}' holds one result without groups, got group {group!r}; leave it out"
        )
    return file if group is None else file.groups[group]


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
