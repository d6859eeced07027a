"""The nulls that similarities are measured against, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NULLS", "null_in_words"]

NULLS = {
    "white": "white random filters",
    "smooth": "equally smooth random filters",
    "spectrum": "linear CNNs with independent labels",
    "permutation": "networks with shuffled images",
    "rotation": "networks with rotated samples",
    "metric": "unrelated networks",
}
"""Name of a null -> the networks that it describes."""


def null_in_words(result: xr.Dataset) -> str:
    """Return the networks that the null interval of a result describes.

    Results of earlier versions do not name their null, which is that of the metric.
    """
    return NULLS.get(str(attribute_of(result, "null", "")), "unrelated networks")
