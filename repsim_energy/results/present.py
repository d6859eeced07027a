"""Entries of a result that exist: networks, stages, layers, components and snapshots.

The arrays of a result have an entry for every combination of labels. Entries without a network, and
layers that a model does not have, are padding and hold NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.results.whole import numbers_of

__all__ = ["existing"]

NETWORK = ("dataset", "model", "seed")


def existing(result: xr.Dataset, dims: Sequence[str]) -> NDArray[np.bool_]:
    """Return which entries of a variable exist, with the shape of these dimensions.

    A network that was to be trained exists, even if its training failed. A given network exists at
    the seeds where it has numbers.

    Parameters
    ----------
    dims : of the variable, in its order
    """
    mask = xr.DataArray(np.ones([result.sizes[dim] for dim in dims], dtype=bool), dims=dims)
    one_sided = any(f"{dim}_ref" in dims and dim not in dims for dim in NETWORK)
    for part in _masks(result):
        if set(part.dims) <= set(dims):
            mask = mask & part
        refs = {str(dim): f"{dim}_ref" for dim in part.dims}
        if refs and not one_sided and set(refs.values()) <= set(dims):
            mask = mask & part.rename(refs) if _same_labels(result, refs) else mask
    values: NDArray[np.bool_] = mask.transpose(*dims).values
    return values


def _same_labels(result: xr.Dataset, refs: dict[str, str]) -> bool:
    return all(np.array_equal(result[dim].values, result[ref].values) for dim, ref in refs.items())


def _masks(result: xr.Dataset) -> Iterator[xr.DataArray]:
    """Yield boolean arrays without coordinates, each of the dimensions that it concerns."""
    for mask in (_networks(result), _layers(result), _stages(result)):
        if mask is not None:
            yield mask.drop_vars(list(mask.coords))
    for name, smallest in (("eigenvalue", 0.0), ("snapshot_step", 0)):
        if name in result:
            mask = numbers_of(result, name) >= smallest  # False for NaN
            yield mask.drop_vars(list(mask.coords))


def _networks(result: xr.Dataset) -> xr.DataArray | None:
    """Return which networks exist."""
    found = [
        _any(result[name].notnull(), NETWORK) for name in ("energy", "similarity") if name in result
    ]
    if not found:
        return None
    if "steps" in result:
        found.append(numbers_of(result, "steps") >= 0)
    known = found[0]
    for other in found[1:]:
        known = known | other
    if "seed" in known.dims:  # a given network without any number exists once
        first = xr.DataArray(np.arange(known.sizes["seed"]) == 0, dims="seed")
        known = known | (first & ~known.any("seed"))
    return known | _trained_here(result)


def _trained_here(result: xr.Dataset) -> xr.DataArray:
    """Return which models are trained here. Results of early versions do not say so: none."""
    return result.given == 0 if "given" in result else xr.DataArray(False)


def _layers(result: xr.Dataset) -> xr.DataArray | None:
    """Return which layers a model has. If a model has no numbers at all, every layer counts."""
    if "similarity" not in result or "layer" not in result.similarity.dims:
        return None
    known = _any(result.similarity.notnull(), ("model", "layer"))
    return known | ~known.any("layer")


def _stages(result: xr.Dataset) -> xr.DataArray | None:
    """Return the stages at which the filters of a network are known."""
    if "energy" not in result or "stage" not in result.energy.dims:
        return None
    known = _any(result.energy.notnull(), (*NETWORK, "stage"))
    return known | ~known.any("stage") | _trained_here(result)


def _any(mask: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    return mask.any([dim for dim in mask.dims if dim not in dims])
