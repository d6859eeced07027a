"""The result schema: an xarray data set of described variables and coordinates."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from repsim_energy.errors import visible
from repsim_energy.versions import OWN, Origin, version_of

__all__ = ["SCHEMA_VERSION", "Variable", "assemble"]

SCHEMA_VERSION = 2


class Variable(NamedTuple):
    """A variable or coordinate of a result, with its description.

    Parameters
    ----------
    dims : the names of the dimensions of ``values``
    values : numbers or texts
    long_name : what the values are, in words
    units : of the values; ``"1"`` for numbers without unit, ``""`` for texts

    Examples
    --------
    >>> Variable(("model",), [3, 5], "number of filters").units
    '1'
    """

    dims: Sequence[str]
    values: Any
    long_name: str
    units: str = "1"

    def as_xarray(self) -> xr.Variable:
        """Return the variable as xarray stores it."""
        values = np.asarray(self.values)
        if values.dtype.kind in "OSU":
            texts = [_storable(str(text)) for text in values.ravel()]
            values = np.array(texts, dtype=str).reshape(values.shape)
        attributes = {"long_name": self.long_name, "units": self.units}
        return xr.Variable(tuple(self.dims), values, attributes)


def assemble(
    variables: Mapping[str, Variable],
    coords: Mapping[str, Sequence[Any] | Variable],
    configuration: Mapping[str, Any],
    attributes: Mapping[str, str],
    *origins: Origin,
) -> xr.Dataset:
    """Return a result of this schema.

    Parameters
    ----------
    variables : name -> variable
    coords : dimension -> its labels; or name -> a fact for each label of one or more dimensions,
        such as ``basis_id(dataset)``
    configuration : everything that the user asked for; stored as one JSON string
    attributes : facts of the whole result, as text (netCDF stores no None, bool or dict)
    origins : of the plugins that took part; recorded with their versions

    Examples
    --------
    >>> count = Variable(("model",), [64], "number of filters")
    >>> result = assemble({"n_filters": count}, {"model": ["vgg11"]}, {}, {"metric": "energy"})
    >>> int(result.n_filters.sel(model="vgg11")), result.attrs["schema_version"]
    (64, 2)
    """
    result = xr.Dataset(
        {name: variable.as_xarray() for name, variable in variables.items()},
        coords={name: _coordinate(values) for name, values in coords.items()},
    )
    versions = {**_own_versions(), **{one.distribution: one.version for one in origins}}
    result.attrs = {
        "schema_version": SCHEMA_VERSION,
        **{name: _storable(text) for name, text in attributes.items()},
        "configuration": json.dumps(configuration, sort_keys=True, default=str),
        "versions": json.dumps(versions),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return result


@cache
def _own_versions() -> dict[str, str]:
    """Return the versions that every result has: those that this process has imported."""
    versions = {name: version_of(name) for name in ("torch", "numpy", "xarray", OWN)}
    return {"python": platform.python_version(), **versions}


def _coordinate(values: Sequence[Any] | Variable) -> xr.Variable | list[Any]:
    if isinstance(values, Variable):
        return values.as_xarray()
    return [_storable(label) for label in values]


def _storable(value: Any) -> Any:
    """Return a text as netCDF can store it: line by line, what is not UTF-8 escaped."""
    return "\n".join(map(visible, value.split("\n"))) if isinstance(value, str) else value
