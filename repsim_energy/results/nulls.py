"""The nulls that similarities are measured against, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NULLS", "null_in_words"]

NULLS = {
    "white": "random filters with independent weights",
    "smooth": "random filters as smooth as the measured ones",
    "spectrum": "linear CNNs that learned independent labels",
    "permutation": "networks shown the images in unrelated orders",
    "rotation": "networks with randomly rotated samples",
    "metric": "unrelated networks, as the metric defines them",
}
"""Name of a null -> the networks that it describes."""


def null_in_words(result: xr.Dataset) -> str:
    """Return the networks that the null interval of a result describes.

    Results of earlier versions do not name their null, which is that of the metric.
    """
    return NULLS.get(str(result.attrs.get("null", "")), "unrelated networks")
