"""Attributes of a comparison, of which the points of a sweep may have different ones."""

from __future__ import annotations

import xarray as xr

__all__ = ["as_comparison", "attribute_of", "coordinate_of"]


def coordinate_of(attribute: str, dims: set[str]) -> str:
    """Return the name of the coordinate for an attribute in which the points of a sweep differ.

    Parameters
    ----------
    dims : of the sweep, one of which may have the name of the attribute
    """
    return f"compared_{attribute}" if attribute in dims else attribute


def attribute_of(result: xr.Dataset, name: str, default: str | None = None) -> str:
    """Return an attribute of a comparison, which may be a point of a sweep.

    Parameters
    ----------
    default : if there is none

    Raises
    ------
    KeyError
        If there is none and no default.
    """
    attributes = as_comparison(result).attrs
    return str(attributes[name] if default is None else attributes.get(name, default))


def as_comparison(point: xr.Dataset) -> xr.Dataset:
    """Return a point of a sweep with the attributes of its comparison.

    Those in which the points differ are coordinates of the sweep.
    """
    own = {
        one.attrs["attribute"]: one.item()
        for one in point.coords.values()
        if "attribute" in one.attrs and not one.ndim and one.item()
    }
    return point.assign_attrs(own)
