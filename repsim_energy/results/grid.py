"""Results at the points of a grid, such as of a sweep, as one result with a dimension per axis."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.errors import UsageError
from repsim_energy.results.attributes import coordinate_of
from repsim_energy.results.schema import Variable

__all__ = ["GRID", "axes_in", "join_grid", "join_results"]

GRID = "sweep"
"""Attribute of a result with dimensions of its own: a JSON object, dimension -> option."""

OF_NETWORKS = {"model", "group"}
"""Dimensions of the variables that have every axis."""

MISSING = {"given": 0}
"""Integers where a point has no result, if not -1."""

OWN = ("command", "configuration", "created", "failures", GRID)
"""Attributes that are joined in a way of their own."""


def join_grid(
    results: Sequence[xr.Dataset | None], axes: Mapping[str, Variable], options: Mapping[str, str]
) -> xr.Dataset:
    """Return the results at all points of a grid as one.

    Variables of networks, those with the dimension ``model``, have every axis. Other variables,
    such as ``eigenvalue``, and coordinates have the axes along which they differ. Attributes that
    differ become such coordinates. Along ``component``, and other dimensions whose size differs,
    the labels are those of all points.

    Parameters
    ----------
    results : of all points in the order of C, ``None`` where there is none; at least one is there
    axes : dimension -> its values
    options : dimension -> the option that is varied, for the attribute ``sweep``

    Returns
    -------
    xarray.Dataset
        NaN, empty text, or -1 in variables of integers, where a point has no result or a shorter
        dimension.
    """
    there = [result for result in results if result is not None]
    labels = _labels(there)
    grid = _Grid([len(axis.values) for axis in axes.values()], list(axes), results, labels)
    variables: dict[str, xr.Variable] = {name: axis.as_xarray() for name, axis in axes.items()}
    coords = {*axes}
    names = dict.fromkeys(str(name) for result in there for name in result.variables)
    for name in names:
        first = next(result for result in there if name in result.variables)
        if name in labels:
            variables[name] = xr.Variable((name,), labels[name], first.variables[name].attrs)
        elif name in first.coords and name not in there[0].data_vars:
            variables[name] = grid.reduced(name)
        else:
            whole = bool(OF_NETWORKS & {*first.variables[name].dims})
            variables[name] = grid.whole(name) if whole else grid.reduced(name)
        if name in first.coords and name in there[0].coords:
            coords.add(name)
    attributes, differing = _attributes(there)
    for name in differing:
        coordinate = coordinate_of(name, {dim for result in there for dim in map(str, result.dims)})
        variables[coordinate] = grid.of_attribute(name)
        coords.add(coordinate)
    joined = xr.Dataset({n: v for n, v in variables.items() if n not in coords})
    joined = joined.assign_coords({n: v for n, v in variables.items() if n in coords})
    inner: dict[str, str] = {}
    for result in there:
        inner |= json.loads(result.attrs.get(GRID, "{}"))
    joined.attrs = {**attributes, GRID: json.dumps({**options, **inner})}
    return joined


def join_results(results: Mapping[Any, xr.Dataset], dim: str) -> xr.Dataset:
    """Return results joined along a new dimension, such as those of several recipes or files.

    Variables of networks and pairs have the new dimension; other variables and coordinates have it
    if they differ, and so have attributes that differ, as coordinates. Networks of different
    results are not compared. The part of one label, ``joined.sel({dim: label})``, is a result.

    Parameters
    ----------
    results : label along the new dimension, a number or a text, -> result of :func:`compare`,
        :func:`sweep` or :func:`open_result`
    dim : name of the new dimension

    Returns
    -------
    xarray.Dataset
        In memory, NaN where results have other labels along a dimension, such as fewer components.

    Raises
    ------
    UsageError
        For no result, for what is none, for a name that they use already, and for labels that are
        neither all numbers nor all texts.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> images = torch.rand(20, 1, 6, 6)
    >>> results = {k: rs.compare({"a": torch.rand(k, 1, 2, 2)}, images) for k in (4, 8)}
    >>> joined = rs.join_results(results, "filters")
    >>> joined.energy.dims[0], joined.filters.values.tolist()
    ('filters', [4, 8])
    """
    if not isinstance(results, Mapping) or not results:
        raise UsageError("got no results, expected a mapping from labels to results of compare")
    for label, result in results.items():
        if "configuration" not in getattr(result, "attrs", {}):
            raise UsageError(
                f"got {type(result).__name__} for '{label}', expected a result of compare; open "
                "files with rs.open_result"
            )
        if dim in result.variables or dim in result.dims or dim == GRID:
            raise UsageError(f"got dim='{dim}', which the results have already; name another one")
    labels = np.array(list(results))
    if labels.ndim != 1 or labels.dtype.kind not in "iufU" or _mixed(results):
        raise UsageError(
            f"got the labels {list(results)}, expected numbers, or texts, as values along '{dim}'"
        )
    axis = Variable((dim,), labels, f"which of the joined results, by {dim}")
    if labels.dtype.kind == "U":
        axis = axis._replace(units="")
    return join_grid(list(results.values()), {dim: axis}, {dim: dim})


def _mixed(labels: Iterable[Any]) -> bool:
    return len({isinstance(label, str) for label in labels}) > 1


def axes_in(result: xr.Dataset) -> dict[str, str]:
    """Return dimension -> option of the axes that a sweep has, nothing of other results."""
    text = result.attrs.get(GRID)
    options: dict[str, str] = json.loads(text) if isinstance(text, str) else {}
    return {dim: option for dim, option in options.items() if dim in result.dims}


class _Grid:
    """Arrays over all points.

    Parameters
    ----------
    sizes, dims : of the axes
    results : of all points
    labels : dimension -> its labels in all results
    """

    def __init__(
        self,
        sizes: Sequence[int],
        dims: Sequence[str],
        results: Sequence[xr.Dataset | None],
        labels: Mapping[str, NDArray[Any]],
    ) -> None:
        self._sizes = tuple(sizes)
        self._dims = tuple(dims)
        self._results = results
        self._at = {
            dim: {label: i for i, label in enumerate(of_dim.tolist())}
            for dim, of_dim in labels.items()
        }
        self._places = [{} if one is None else self._places_of(one) for one in results]

    def whole(self, name: str) -> xr.Variable:
        """Return a variable with every axis."""
        first = next(v for _, v in self._found(name))
        inner = [str(dim) for dim in first.dims]
        sizes = [self._size(dim) for dim in inner]
        count, found = math.prod(self._sizes), list(self._found(name))
        kind = np.result_type(*(values.dtype for _, values in found))
        full = len(found) == count and all(list(v.shape) == sizes for _, v in found)
        missing: Any = {"f": np.nan, "U": "", "i": MISSING.get(name, -1)}.get(kind.kind, 0)
        out = np.empty if full else functools.partial(np.full, fill_value=missing)
        values = out((count, *sizes), dtype=kind)
        for point, one in found:
            places = (self._places[point][dim] for dim in inner)
            values[np.ix_(np.array([point]), *places)] = one.values
        shaped = values.reshape(*self._sizes, *sizes)
        described = dict.fromkeys(v.attrs["long_name"] for _, v in found if "long_name" in v.attrs)
        several = {"long_name": " or ".join(described)} if len(described) > 1 else {}
        return xr.Variable((*self._dims, *inner), shaped, {**first.attrs, **several})

    def reduced(self, name: str) -> xr.Variable:
        """Return a variable with the axes along which it differs."""
        return self._without_equal(self.whole(name), {point for point, _ in self._found(name)})

    def of_attribute(self, name: str) -> xr.Variable:
        """Return an attribute that differs as a variable."""
        texts = ["" if r is None else str(r.attrs.get(name, "")) for r in self._results]
        values = np.array(texts).reshape(self._sizes)
        attributes = {"long_name": f"{name} of the comparison", "units": "", "attribute": name}
        there = {point for point, one in enumerate(self._results) if one is not None}
        return self._without_equal(xr.Variable(self._dims, values, attributes), there)

    def _without_equal(self, variable: xr.Variable, there: set[int]) -> xr.Variable:
        """Return a variable without the axes along which the points with a result are equal."""
        known: NDArray[np.bool_] = np.isin(np.arange(math.prod(self._sizes)), list(there)).reshape(
            self._sizes
        )
        for dim in self._dims:
            axis = variable.dims.index(dim)
            values = np.moveaxis(variable.values, axis, 0)
            has = np.moveaxis(known, axis, 0)
            first = has.argmax(0)  # the first point with a result, along this axis
            base = _take(values, first)
            if all(_same(np.asarray(values[i])[has[i]], base[has[i]]) for i in range(len(values))):
                dims = [one for one in variable.dims if one != dim]
                variable = xr.Variable(dims, base, variable.attrs)
                known = np.asarray(has.any(0))
        return variable

    def _found(self, name: str) -> Iterator[tuple[int, xr.Variable]]:
        for point, result in enumerate(self._results):
            if result is not None and name in result.variables:
                yield point, result.variables[name]

    def _size(self, dim: str) -> int:
        if dim in self._at:
            return len(self._at[dim])
        return max(r.sizes[dim] for r in self._results if r is not None and dim in r.sizes)

    def _places_of(self, result: xr.Dataset) -> dict[str, NDArray[np.int64]]:
        """Return where the entries of a result are along each of its dimensions."""
        places = {}
        for dim, size in result.sizes.items():
            at = self._at.get(str(dim))
            own = result.variables[dim].values.tolist() if dim in result.variables else range(size)
            there = range(size) if at is None else [at[label] for label in own]
            places[str(dim)] = np.array(there, dtype=np.int64)
        return places


def _take(values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Return the values at an index along the first axis, one for each place of the next axes."""
    return np.asarray(values[(first, *np.indices(first.shape))])


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _labels(results: Sequence[xr.Dataset]) -> dict[str, NDArray[Any]]:
    """Return the labels of each dimension that has some, in the order in which they appear."""
    dims = dict.fromkeys(str(dim) for result in results for dim in result.dims)
    found: dict[str, NDArray[Any]] = {}
    for dim in dims:
        lists = [r[dim].values.tolist() for r in results if dim in r.coords and dim in r.dims]
        if lists:
            distinct = list(dict.fromkeys(label for labels in lists for label in labels))
            found[dim] = np.array(sorted(distinct) if dim == "component" else distinct)
    return found


def _attributes(results: Sequence[xr.Dataset]) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes that all results share, and the names of those that differ."""
    names = dict.fromkeys(str(name) for result in results for name in result.attrs)
    shared, differing = dict(results[0].attrs), []
    for name in names:
        if name not in OWN and any(r.attrs.get(name) != shared.get(name) for r in results):
            differing.append(name)
            shared.pop(name, None)
    configurations = [json.loads(result.attrs["configuration"]) for result in results]
    shared["configuration"] = json.dumps(functools.reduce(_common, configurations), sort_keys=True)
    lines = (line for result in results for line in result.attrs["failures"].splitlines())
    shared["failures"] = "\n".join(dict.fromkeys(lines))
    return shared, differing


def _common(a: Any, b: Any) -> Any:
    """Return what two configurations share: the entries that are equal, at any depth."""
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return a
    both = {key: (a[key], b[key]) for key in a.keys() & b.keys()}
    return {
        key: _common(*pair)
        for key, pair in both.items()
        if pair[0] == pair[1] or (isinstance(pair[0], dict) and isinstance(pair[1], dict))
    }
