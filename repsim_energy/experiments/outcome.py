"""Results of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repsim_energy.experiments.figures import new_figure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Outcome", "Quantity", "similarities"]


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number of a table or figure, measured once per network, pair of networks or draw.

    Parameters
    ----------
    name : description for the report
    values : finite measurements; their mean is compared with the published number
    key : key in ``published.json``; empty without a published number
    over : the independent repetitions, such as ``3 seeds``
    note : remark for the report
    """

    name: str
    values: NDArray[np.float64]
    key: str = ""
    over: str = ""
    note: str = ""


@dataclass(eq=False)
class Outcome:
    """Results, figure and numbers of an experiment.

    Parameters
    ----------
    results : name -> data set, stored as a group of the result file; "" is its root
    quantities : numbers for the report, beside the published ones
    missing : parts left out for lack of data or weights, and how to provide these
    failures : error messages of failed trainings
    """

    results: dict[str, xr.Dataset] = field(default_factory=dict)
    quantities: list[Quantity] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    figure: Figure | None = field(default=None, init=False)

    def add(
        self, name: str, values: ArrayLike, *, key: str = "", over: str = "", note: str = ""
    ) -> None:
        """Add a quantity. Every finite element of ``values`` is a measurement."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        self.quantities.append(Quantity(name, flat[np.isfinite(flat)], key, over, note))

    def keep(self, name: str, result: xr.Dataset) -> xr.Dataset:
        """Add a result and the failures recorded in it; return the result."""
        self.results[name] = result
        self.failures += str(result.attrs.get("failures", "")).splitlines()
        return result

    def panels(self, count: int, *, columns: int = 3) -> list[Axes]:
        """Start the figure and return its panels, row by row. No panels, no figure."""
        if not count:
            return []
        self.figure, axes = new_figure(count, columns=columns)
        return axes


def similarities(
    result: xr.Dataset,
    a: Mapping[str, Any],
    b: Mapping[str, Any] | None = None,
    of: str = "similarity",
) -> NDArray[np.float64]:
    """Return the similarities of all pairs of runs of two groups, or within one group.

    Parameters
    ----------
    a, b : indices such as ``{"model": 0, "dataset": 1}``; 0 for a dimension that is not named
    of : variable of pairs
    """
    first = {"dataset": 0, "model": 0, **a}
    second = first if b is None else {"dataset": 0, "model": 0, **b}
    block = result[of].isel({**first, **{f"{k}_ref": v for k, v in second.items()}})
    values = block.transpose("seed", "seed_ref").values
    if b is None:
        values = np.array([values[i, j] for i, j in combinations(range(len(values)), 2)])
    flat: NDArray[np.float64] = values.ravel()
    return flat
