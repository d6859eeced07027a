"""What an experiment gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["Outcome", "Quantity", "similarities"]


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number of a table or figure, once per network or pair of networks.

    Parameters
    ----------
    name : what it is, in words
    values : of the networks or pairs; their mean is compared with the published number
    key : of the published number; empty where there is none
    over : what is independent in them, such as ``3 seeds``
    note : what a reader has to know beside it
    """

    name: str
    values: NDArray[np.float64]
    key: str = ""
    over: str = ""
    note: str = ""


@dataclass(eq=False)
class Outcome:
    """What an experiment found.

    Parameters
    ----------
    results : name -> data set, each a group of the result file; one named "" is its root
    figure : the picture
    quantities : what is laid beside the published numbers
    missing : what was left out, and what the user has to bring for it
    failures : trainings that failed
    """

    results: dict[str, xr.Dataset] = field(default_factory=dict)
    figure: Figure | None = None
    quantities: list[Quantity] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(
        self, name: str, values: ArrayLike, key: str = "", over: str = "", note: str = ""
    ) -> None:
        """Add a quantity; every element of an array is a value, NaN is none."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        self.quantities.append(Quantity(name, flat[np.isfinite(flat)], key, over, note))

    def keep(self, name: str, result: xr.Dataset) -> xr.Dataset:
        """Keep a result, and what failed in it."""
        self.results[name] = result
        self.failures += str(result.attrs.get("failures", "")).splitlines()
        return result


def similarities(
    result: xr.Dataset, a: Mapping[str, Any], b: Mapping[str, Any] | None = None
) -> NDArray[np.float64]:
    """Return the similarities of all pairs of runs of two groups, or within one group.

    Parameters
    ----------
    a, b : indices such as ``{"model": 0, "dataset": 1}``; a dimension that is not named is 0
    """
    first = {"dataset": 0, "model": 0, **a}
    second = first if b is None else {"dataset": 0, "model": 0, **b}
    block = result.similarity.isel({**first, **{f"{k}_ref": v for k, v in second.items()}})
    values = block.transpose("seed", "seed_ref").values
    if b is None:
        values = np.array([values[i, j] for i, j in combinations(range(len(values)), 2)])
    flat: NDArray[np.float64] = values.ravel()
    return flat
