"""The summary of a result: similarities averaged over seeds."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["summarize"]


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
