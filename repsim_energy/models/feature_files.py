"""Features of samples from a file, and the model ``features`` that names it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from repsim_energy.errors import (
    DataError,
    FileError,
    UsageError,
    first_few,
    one_line_errors,
    warn,
)
from repsim_energy.files.array_files import check_memory, read_npz
from repsim_energy.files.hdf5 import CLASSIC, HDF5, refuse_parts_elsewhere
from repsim_energy.interfaces.hashing import file_digest
from repsim_energy.models.files.known_hash import check_sha256
from repsim_energy.results.opening import check_opening

__all__ = ["FeatureFile", "features", "read_features"]

REMEDY = "save arrays of numbers with numpy.savez, and ids as texts or whole numbers"

IDS = "ids"
"""Name of the array that names the samples."""

MAX_NAMED = 5
"""Maximum number of arrays that a message names."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """Features of one network.

    Parameters
    ----------
    path : of the file
    layers : name of an array -> (n, ...) numbers, a row for each sample
    ids : a text for each sample; ``None`` if the order of rows is accepted in their place
    sha256 : of the file
    """

    path: Path
    layers: Mapping[str, Array]
    ids: tuple[str, ...] | None
    sha256: str

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(next(iter(self.layers.values())))


def features(
    classes: int,
    in_channels: int,
    /,
    *,
    path: Path,
    ids: Literal["file", "order"] = "file",
    sha256: str = "",
) -> NoReturn:
    """Compare features of samples from a file with those of other files, without a network.

    The comparison reads the file. Whoever builds a network of it gets an error.

    Parameters
    ----------
    path : a .npz or netCDF file with arrays (n, ...), one for each layer, and ids (n,) of samples
    ids : file for the samples that the file names, or order where its rows are in the order of the
        other files
    sha256 : first 8 or more digits of the file's SHA-256; another content is refused
    """
    raise UsageError(
        f"got features:path={path}, which is no network but its features for some samples, "
        "expected a comparison of such files alone, by a metric on activations such as metric=cka; "
        "leave networks out, or use a checkpoint"
    )


def read_features(path: Path, ids: str = "file", sha256: str = "") -> FeatureFile:
    """Read features and the ids of their samples. Nothing in the file is executed.

    Parameters
    ----------
    path : a NumPy ``.npz`` or a netCDF4 file; the content decides which
    ids : ``file``, or ``order`` to ignore the ids in the file
    sha256 : first digits of the file's SHA-256; empty to accept any content

    Raises
    ------
    UsageError
        For a missing file, and one without ids.
    DataError
        For a file without features, arrays of different numbers of rows, and ids that occur twice.
    FileError
        For a file that cannot be read, has objects in it, or has another SHA-256.
    """
    if not os.path.isfile(path):
        raise UsageError(f"no file at '{path}', expected a .npz or .nc with features of samples")
    try:
        with path.open("rb") as file:
            start = file.read(len(HDF5))
            digest = file_digest(file, path.name)
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror or error}); check its permissions"
        ) from error
    check_sha256(path, digest, sha256)
    arrays, names = _read_arrays(path, start)
    layers = _layers_of(arrays, path)
    return FeatureFile(path, layers, _ids_of(names, layers, path, ids), digest)


def _read_arrays(path: Path, start: bytes) -> tuple[dict[str, Array], Array | None]:
    """Return the arrays of a file, and the names of samples, from the format of its first bytes."""
    if start.startswith(b"PK"):
        arrays = read_npz(path, REMEDY)
        return arrays, arrays.pop(IDS, None)
    if not start.startswith((HDF5, CLASSIC)):
        raise FileError(f"'{path}' is neither .npz nor netCDF, expected one of them; convert it")
    with one_line_errors(path, "netCDF", REMEDY):
        if start == HDF5:
            check_opening(path)
        return _read_netcdf(path)


def _read_netcdf(path: Path) -> tuple[dict[str, Array], Array | None]:
    """Return the variables, and the labels of their first dimension or the variable ``ids``."""
    import xarray as xr

    with path.open("rb") as raw:
        refuse_parts_elsewhere(raw, path)
    with xr.open_dataset(path, engine="netcdf4", decode_times=False) as file:
        check_memory(path, file.nbytes)
        file = file.load()
    if "schema_version" in file.attrs:
        raise FileError(
            f"'{path}' is a result of this toolkit, expected features; print it with repsim show"
        )
    first = next((str(v.dims[0]) for v in file.data_vars.values() if v.ndim), "")
    arrays = {str(name): np.asarray(variable.values) for name, variable in file.data_vars.items()}
    ids = arrays.pop(IDS, None)
    other = {
        name: file[name].dims[0]
        for name in arrays
        if file[name].ndim and file[name].dims[0] != first
    }
    if other:
        name, dim = next(iter(other.items()))
        raise DataError(
            f"'{path}' has features along '{first}' and '{name}' along '{dim}', expected the "
            "samples as the first dimension of every variable; transpose or leave out the others"
        )
    for name in (first, IDS):
        if ids is None and name in file.coords:
            ids = np.asarray(file.coords[name].values)
    return arrays, ids


def _layers_of(arrays: Mapping[str, Array], path: Path) -> dict[str, Array]:
    """Return the arrays that are features, with a warning that names the others."""
    layers = {name: array for name, array in arrays.items() if _is_feature(array)}
    others = [f"{n} ({a.dtype}, {a.shape})" for n, a in arrays.items() if n not in layers]
    if not layers:
        listed = first_few(others, MAX_NAMED) or "none"
        raise DataError(
            f"'{path}' has no features among its arrays ({listed}), expected numbers (n, d)"
        )
    counts = {len(array) for array in layers.values()}
    if len(counts) > 1:
        shapes = [f"{name} {array.shape}" for name, array in layers.items()]
        raise DataError(
            f"'{path}' has arrays of different numbers of samples, {first_few(shapes, MAX_NAMED)}, "
            "expected a row for each sample in every one; save them in files of their own"
        )
    if others:
        warn(f"left out of '{path.name}', which are no features: {first_few(others, MAX_NAMED)}")
    return layers


def _is_feature(array: Array) -> bool:
    """Return whether an array has features: real numbers with samples as rows.

    One whole number for each sample is rather a label.
    """
    return array.size > 0 and (
        (array.dtype.kind == "f" and array.ndim > 0)
        or (array.dtype.kind in "iub" and array.ndim > 1)
    )


def _ids_of(
    names: Array | None, layers: Mapping[str, Array], path: Path, ids: str
) -> tuple[str, ...] | None:
    """Return the ids of the samples as texts, each of which occurs once."""
    if ids == "order":
        return None
    if names is None:
        raise UsageError(
            f"'{path}' has no array 'ids', expected one that names its samples, as in every file "
            "that is compared; if its rows are in the order of the others, write "
            f"features:path={path}:ids=order"
        )
    count = len(next(iter(layers.values())))
    if names.shape != (count,) or names.dtype.kind not in "iuUSO":
        raise DataError(
            f"ids in '{path}' are {names.dtype} of shape {names.shape}, expected ({count},) texts "
            "or whole numbers, one for each row"
        )
    texts = tuple(map(_text, names.tolist()))
    if twice := _repeated(texts):
        raise DataError(
            f"{len(twice)} ids in '{path}' occur more than once ({first_few(twice, MAX_NAMED)}), "
            "expected each once; name every sample differently, or write ids=order"
        )
    return texts


def _text(name: Any) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)


def _repeated(texts: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(text for text in texts if text in seen or seen.add(text)))  # type: ignore[func-returns-value]
