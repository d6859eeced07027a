"""The result schema: plain xarray data sets, and the only writer and reader of result files."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import platform
import tempfile
import warnings
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import NetCDF4DataStore

from repsim_energy.errors import FileError, RepsimError, UsageError, reason_of, visible
from repsim_energy.storage import atomic_path, check_writable
from repsim_energy.versions import OWN, Origin, version_of

__all__ = [
    "SCHEMA_VERSION",
    "assemble",
    "open_result",
    "save_result",
    "save_results",
    "summarize",
    "to_json",
]

SCHEMA_VERSION = 1

SEAL = b"\nrepsim-energy sha256 "
"""What follows the netCDF4 content of a file, before the SHA-256 of that content. netCDF and HDF5
pass over bytes behind the end; of damage they notice a part, and on some they never come back."""

VARIABLES: dict[str, tuple[str, str]] = {
    "energy": ("energy profile", "weight units"),
    "snapshot_energy": ("energy profile along training, at the stage compared", "weight units"),
    "snapshot_step": ("gradient step of the snapshot", "1"),
    "eigenvalue": ("variance of the patches along the component", "pixel value squared"),
    "components": ("principal component of the patches, a unit vector", "1"),
    "similarity": ("similarity of two networks", "1"),
    "null_low": ("lower end of the central 95% for unrelated networks", "1"),
    "null_high": ("upper end of the central 95% for unrelated networks", "1"),
    "init_similarity": ("correlation with the network's own initial profile", "1"),
    "fit_correlation": ("correlation with the best theoretical profile", "1"),
    "fit_steps": ("gradient steps of the best theoretical profile", "1"),
    "fit_at_bound": ("1 where the best step is the first or last one searched", "1"),
    "train_accuracy": ("share of training images classified right in the last epoch", "1"),
    "test_accuracy": ("share of test images classified right after training", "1"),
    "steps": ("gradient steps taken", "1"),
    "run_id": ("identifier of the cached run, empty where there is none", ""),
    "given": ("1 where the network is given, 0 where it is trained here", "1"),
    "evaluation_step": ("gradient step of the evaluation", "1"),
    "training_loss": ("training loss, mean since the evaluation before", "1"),
    "training_accuracy": ("training accuracy, mean since the evaluation before", "1"),
    "validation_loss": ("loss on test images", "1"),
    "validation_accuracy": ("share of test images classified right", "1"),
    "theoretical_profile": ("profile of a linear CNN by the published formula", "arbitrary"),
    "simulated_profile": ("profile of a linear CNN trained step by step", "weight units"),
    "formula_correlation": ("correlation of simulated and theoretical profile", "1"),
    "start_correlation": ("correlation of profiles with and without initial weights", "1"),
    "coefficient_correlation": ("correlation of a class with a component's coefficient", "1"),
    "energy_correlation": ("correlation of a class with a component's energy", "1"),
    "autocorrelation": ("spatial autocorrelation, mean of both axes", "1"),
    "autocorrelation_x": ("spatial autocorrelation for horizontal shifts", "1"),
    "autocorrelation_y": ("spatial autocorrelation for vertical shifts", "1"),
    "autocorrelation_map": ("spatial autocorrelation for shifts in the plane", "1"),
}
"""Every variable that may occur: long_name and units. ``steps`` is -1 where unknown."""

COORDINATES = {
    "model_spec": "name and options of the model as typed, empty for objects of Python",
    "file_sha256": "SHA-256 of the file of weights, empty where there is none",
    "filters_sha256": "SHA-256 of the filters, empty for networks trained by the toolkit",
    "init_sha256": "SHA-256 of the filters before training, empty where they were not given",
}
"""What stands beside the labels of a dimension: long_name."""


def assemble(
    variables: Mapping[str, tuple[Sequence[str], Any]],
    coords: Mapping[str, Any],
    configuration: Mapping[str, Any],
    attributes: Mapping[str, str],
    *origins: Origin,
) -> xr.Dataset:
    """Return a result of this schema.

    Parameters
    ----------
    variables : name -> (dims, values), names as in ``VARIABLES``
    coords : dimension -> labels, or a name as in ``COORDINATES`` -> (dims, labels)
    configuration : all that was asked for; stored as one JSON string
    attributes : further attributes, text only (netCDF holds no None, bool or dict)
    origins : of the plugins that took part; recorded with their versions
    """
    result = xr.Dataset(
        {
            name: (list(dims), np.asarray(values), _described(name))
            for name, (dims, values) in variables.items()
        },
        coords={name: _coordinate(name, labels) for name, labels in coords.items()},
    )
    versions = {name: version_of(name) for name in ("torch", "numpy", "xarray", OWN)}
    for origin in origins:
        versions[origin.distribution] = origin.version
    result.attrs = {
        "schema_version": SCHEMA_VERSION,
        **{name: _storable(text) for name, text in attributes.items()},
        "configuration": json.dumps(configuration, sort_keys=True, default=str),
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return result


def _coordinate(name: str, labels: Any) -> Any:
    if name not in COORDINATES:
        return [_storable(label) for label in labels]
    dims, texts = labels
    stored = np.array([_storable(str(text)) for text in np.ravel(texts)]).reshape(np.shape(texts))
    return list(dims), stored, {"long_name": COORDINATES[name], "units": ""}


def _storable(value: Any) -> Any:
    """Return a text as netCDF can hold it: line by line with what is not UTF-8 escaped."""
    return "\n".join(map(visible, value.split("\n"))) if isinstance(value, str) else value


def _described(name: str) -> dict[str, str]:
    long_name, units = VARIABLES[name]
    return {"long_name": long_name, "units": units}


def save_result(result: xr.Dataset, path: str | Path) -> None:
    """Write a result as netCDF4, checksummed; a kill leaves the old file or the whole new one.

    Raises
    ------
    UsageError
        Where the place cannot be written.
    RepsimError
        Where writing fails, such as on a full disk; what was there before is unchanged.
    """
    save_results({"": result}, path)


def save_results(results: Mapping[str, xr.Dataset], path: str | Path) -> None:
    """Write several results into one file, each a group of it; that of the name "" is the root.

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
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.write(SEAL + hashlib.sha256(content).hexdigest().encode())


def _as_bytes(results: Mapping[str, xr.Dataset]) -> bytes:
    """Return the content of a file of results.

    The system itself then writes it where it belongs: netCDF cannot say that a disk is full, and
    takes no name that is not UTF-8.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.nc")
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
    """Return a result file's content, in memory.

    Parameters
    ----------
    group : which of several results in the file, such as ``cifar10`` in ``table1.nc``

    Raises
    ------
    UsageError
        Where there is no such file.
    FileError
        For a file that is damaged, or no result of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no result at '{path}', expected a .nc file of repsim compare -o")
    try:
        with netCDF4.Dataset("results.nc", memory=_unsealed(path)) as file:
            groups = list(file.groups)
            ours = bool(groups) and "schema_version" in file.groups[groups[0]].ncattrs()
            if ours and group not in groups:
                raise UsageError(
                    f"'{path}' holds several results, got group {group!r}, expected one of "
                    f"{', '.join(groups)}"
                )
            if group is not None and not groups:
                raise UsageError(
                    f"'{path}' holds one result without groups, got group {group!r}; leave it out"
                )
            place = file.groups[group] if group is not None else file
            store = NetCDF4DataStore(place)  # type: ignore[no-untyped-call]
            result = xr.open_dataset(store).load()
            version = result.attrs.get("schema_version")
            known = isinstance(version, int | np.integer) and version <= SCHEMA_VERSION
    except RepsimError:
        raise
    except Exception as error:  # damage comes out as any error of netCDF4, xarray and NumPy
        raise FileError(
            f"'{path}' cannot be read as netCDF4 ({reason_of(error)}); make it anew"
        ) from error
    if not known:
        raise FileError(
            f"'{path}' has schema version {version}, expected up to {SCHEMA_VERSION} of a "
            "repsim-energy result; update repsim-energy or choose another file"
        )
    return result


def _unsealed(path: Path) -> bytes:
    """Return the netCDF4 content of a file after comparing it with its SHA-256, where it has one.

    Files of earlier versions, and those that other software wrote, have none.
    """
    data = path.read_bytes()
    content, _, digest = data.rpartition(SEAL)
    if not content or len(digest) != 64:
        return data
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise FileError(
            f"'{path}' cannot be read: it is damaged, its bytes are not those that were written; "
            "make it anew"
        )
    return content


def summarize(result: xr.Dataset) -> xr.Dataset:
    """Return the similarity between groups of runs that differ in their seeds alone.

    A group is one data set, model and (on activations) layer.

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``spread`` (standard deviation) ``(group, group_ref)`` over pairs of seeds; of
        one model over pairs of different seeds (for two layers, within the network where there is
        one seed alone). NaN where there is no pair (for the spread:
        fewer than two). ``null_low`` and ``null_high`` likewise, averaged.
    """
    outer = [d for d in ("dataset", "model", "layer") if d in result.similarity.dims]
    refs = [f"{d}_ref" for d in outer]
    labels = [
        " ".join(str(part) for part in parts if part is not None)
        for parts in itertools.product(
            *(result[d].values if result.sizes[d] > 1 or d == "model" else [None] for d in outer)
        )
    ]
    seeds, layers = result.sizes["seed"], result.sizes.get("layer", 1)
    shape = (len(labels), seeds, len(labels), seeds)

    def grouped(name: str) -> NDArray[np.float64]:
        ordered = result[name].transpose(*outer, "seed", *refs, "seed_ref").values.reshape(shape)
        pairs = np.swapaxes(ordered, 1, 2).copy()
        once = np.tri(seeds, k=0, dtype=bool)  # a pair within a group counts once, itself never
        for a, b in itertools.product(range(len(labels)), repeat=2):
            if a == b:
                pairs[a, b][once] = np.nan
            elif a // layers == b // layers:
                across = np.where(np.eye(seeds, dtype=bool), np.nan, pairs[a, b])
                pairs[a, b] = across if np.isfinite(across).any() else pairs[a, b]
        flat: NDArray[np.float64] = pairs.reshape(len(labels), len(labels), -1)
        return flat

    similarity = grouped("similarity")
    dims = ("group", "group_ref")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing to average is NaN
        values = {"mean": np.nanmean(similarity, -1), "spread": np.nanstd(similarity, -1, ddof=1)}
        for name in ("null_low", "null_high"):
            values[name] = np.nanmean(grouped(name), -1)
    return xr.Dataset(
        {name: (dims, value) for name, value in values.items()},
        coords={"group": labels, "group_ref": labels},
    )


def to_json(result: xr.Dataset) -> str:
    """Return a result as JSON, undefined numbers as null."""
    return json.dumps(_plain(result.to_dict()), indent=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
