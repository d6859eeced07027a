"""Parts of a result that several figures read: names of curves, images of components."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import UsageError
from repsim_energy.results import to_dataframe, with_component_coords

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["at_labels", "component_images", "component_names", "frame_of", "left_out", "names_of"]

MIN_NAMED_COHERENCE = 0.5
"""Coherence from which on the name of a component gives its orientation."""


def frame_of(result: xr.Dataset, name: str) -> pd.DataFrame:
    """Return a variable as a tidy table, with the descriptions of components.

    Dimensions from which one entry was selected are columns, too.

    Raises
    ------
    UsageError
        If the result has no such variable.
    """
    if name not in getattr(result, "data_vars", ()):
        raise UsageError(
            f"got a {type(result).__name__} without '{name}', expected a result that has it, such "
            "as one of metric=energy"
        )
    return to_dataframe(with_component_coords(result), name)


def at_labels(values: xr.DataArray, **labels: object) -> xr.DataArray:
    """Select labels along the dimensions that a variable has.

    A dimension that it lacks was reduced to one label before.
    """
    return values.sel({dim: label for dim, label in labels.items() if dim in values.dims})


def names_of(frame: pd.DataFrame) -> pd.Series:
    """Return the name of each row's curve: its model, with its data set if there are several."""
    names = frame["model"].astype(str)
    if frame["dataset"].nunique() > 1:
        names = names + " on " + frame["dataset"].astype(str)
    return names


def left_out(result: xr.Dataset, drawn: Iterable[object]) -> str:
    """Return a note for the title of a figure that counts the models that it cannot draw.

    Parameters
    ----------
    drawn : labels of the models that are drawn
    """
    models = [str(label) for label in np.atleast_1d(result["model"].values)]
    missing = set(models) - set(map(str, drawn))
    return f" (without {len(missing)} of {len(models)} models)" if missing else ""


def component_names(components: pd.DataFrame) -> list[str]:
    """Return a short name of each component, such as ``2: 0.17 90° gray``.

    It has the number, the mean spatial frequency in cycles per pixel, the orientation if there is
    a clear one, and whether most of the energy is gray or color.
    """
    names = []
    for row in components.itertuples():
        clear = row.coherence >= MIN_NAMED_COHERENCE
        parts = [f"{row.component}: {row.frequency:.2f}"]
        parts += [f"{round(row.orientation) % 180}°"] if clear else []
        if row.chromatic_share == row.chromatic_share:
            parts.append("color" if row.chromatic_share > 0.5 else "gray")
        names.append(" ".join(parts))
    return names


def component_images(result: xr.Dataset, dataset: str) -> NDArray[np.float64]:
    """Return the components (component, c, kh, kw) of a data set."""
    order = ("component", "c", "kh", "kw")
    one = at_labels(result.components, dataset=dataset)
    images: NDArray[np.float64] = one.transpose(*order).values
    return images
