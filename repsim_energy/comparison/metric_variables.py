"""Variables that a metric adds to a result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.measured import Coords, Measured, Variables
from repsim_energy.errors import PluginError
from repsim_energy.interfaces import Metric
from repsim_energy.results import Variable

__all__ = ["with_metric_variables"]

Numbers = NDArray[np.float64]


def with_metric_variables(
    measured: Measured,
    metric: Metric,
    representations: Mapping[tuple[int, ...], Numbers],
    dims: tuple[str, ...],
) -> Measured:
    """Add the numbers by which a metric describes each network.

    A metric without the method ``variables`` adds none. Networks without a representation are NaN.

    Parameters
    ----------
    representations : index of a network (or of a layer of it) -> its representation
    dims : names of the dimensions of these indices

    Raises
    ------
    PluginError
        If what the metric returns is no variable, uses the name of another one, or differs in its
        dimensions from network to network.
    """
    if not callable(getattr(metric, "variables", None)):
        return measured
    of_networks = measured.variables.get("similarity", measured.variables["steps"])
    shape = np.shape(of_networks.values)[: len(dims)]
    added: Variables = {}
    for index, representation in representations.items():
        described = metric.variables(representation)  # type: ignore[attr-defined]
        if not isinstance(described, Mapping):
            raise _wrong(metric, f"variables gave {type(described).__name__}", "a mapping")
        for name, variable in described.items():
            values = _numbers_of(metric, name, variable)
            empty = np.full((*shape, *values.shape), np.nan)
            new = variable._replace(dims=(*dims, *variable.dims), values=empty)
            if name not in added:
                _check_names(metric, {**measured.variables, **added}, measured.coords, name, new)
                added[name] = new
            known = added[name]
            if (known.dims, known.values.shape) != (new.dims, empty.shape):
                got = f"variable '{name}' {new.dims} of shape {empty.shape} for one network"
                raise _wrong(metric, got, f"{known.dims} of {known.values.shape} as for another")
            known.values[index] = values
    coords = {**measured.coords, **_labels_of_references(measured.coords, added)}
    return replace(measured, variables={**measured.variables, **added}, coords=coords)


def _labels_of_references(coords: Coords, added: Variables) -> Coords:
    """Return the labels of each dimension ``NAME_ref`` of a metric, which are those of ``NAME``."""
    sizes = {
        dim: size
        for variable in added.values()
        for dim, size in zip(variable.dims, np.shape(variable.values), strict=True)
    }
    labels = {dim: coords.get(dim.removesuffix("_ref")) for dim in sizes.keys() - coords.keys()}
    return {
        dim: found
        for dim, found in labels.items()
        if isinstance(found, list) and len(found) == sizes[dim] and dim.endswith("_ref")
    }


def _numbers_of(metric: Metric, name: Any, variable: Any) -> Numbers:
    """Return the values of a variable, which have to be numbers with the dimensions it names."""
    if not isinstance(variable, Variable):
        got = f"variable '{name}' is of type {type(variable).__name__}"
        raise _wrong(metric, got, "a repsim_energy.Variable")
    values = np.asarray(variable.values)
    if values.dtype.kind not in "fiub" or values.ndim != len(variable.dims):
        got = f"variable '{name}' has {values.dtype} values of shape {values.shape}"
        raise _wrong(metric, got, f"numbers with the dimensions {tuple(variable.dims)}")
    return values.astype(np.float64)


def _check_names(
    metric: Metric, variables: Variables, coords: Collection[str], name: str, new: Variable
) -> None:
    """Refuse names that are in use, except dimensions of the same size."""
    sizes = {
        dim: size
        for variable in variables.values()
        for dim, size in zip(variable.dims, np.shape(variable.values), strict=True)
    }
    used = {*variables, *coords} - set(sizes)
    if name in used or name in sizes:
        raise _wrong(metric, f"a variable called '{name}', which the result has", "another name")
    for dim, size in zip(new.dims, new.values.shape, strict=True):
        if dim in used or list(new.dims).count(dim) > 1 or sizes.get(dim, size) != size:
            got = f"variable '{name}' has a dimension '{dim}' of size {size}, which is in use"
            raise _wrong(metric, got, "another name")


def _wrong(metric: Metric, got: str, expected: str) -> PluginError:
    return PluginError(f"metric '{metric.name}': got {got}, expected {expected}")
