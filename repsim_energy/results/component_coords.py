"""Coordinates along ``component`` that describe each principal component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from repsim_energy.numerics.patches.description import describe_components
from repsim_energy.results.schema import Variable

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike

__all__ = ["COMPONENT_COORDS", "component_coords", "with_component_coords"]

COMPONENT_COORDS = {
    "frequency": ("mean spatial frequency of the component", "cycles per pixel"),
    "orientation": ("direction of the stripes of the component, 90 is vertical", "degrees"),
    "coherence": ("part of the gradient of the component that has this orientation", "1"),
    "chromatic_share": ("share of the energy of the component that is not gray", "1"),
    "symmetry": ("1 if the component is even under rotation by 180 degrees, -1 if odd", "1"),
}
"""Name -> long name and unit."""


def component_coords(
    components: ArrayLike, dims: Sequence[str] = ("dataset", "component")
) -> dict[str, Variable]:
    """Return the coordinates that describe components.

    Parameters
    ----------
    components : (..., c, kh, kw)
    dims : names of the leading dimensions
    """
    return {
        name: Variable(dims, values, *COMPONENT_COORDS[name])
        for name, values in describe_components(components).items()
    }


def with_component_coords(result: xr.Dataset) -> xr.Dataset:
    """Return a result whose components are described. Earlier results only store them."""
    if "components" not in result or "frequency" in result.coords:
        return result
    dims = [dim for dim in ("dataset", "component") if dim in result.components.dims]
    values = result.components.transpose(*dims, "c", "kh", "kw").values
    coords = component_coords(values, dims)
    return result.assign_coords({name: one.as_xarray() for name, one in coords.items()})
