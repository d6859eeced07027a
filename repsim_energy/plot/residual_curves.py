"""Curves of what the theory leaves of energy profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.plot.component_curves import Quantity, draw_curves
from repsim_energy.plot.frames import frame_of
from repsim_energy.results import COMPONENT_COORDS, with_component_coords
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["residuals", "residuals_table"]

RUN = ["dataset", "model", "seed"]


def residuals_table(result: xr.Dataset) -> pd.DataFrame:
    """Return the curves of :func:`residuals`, a row for each component of each model.

    ``mean``, ``low`` and ``high`` are mean, smallest and largest value over ``n`` seeds. The other
    columns describe the component.
    """
    whole = with_component_coords(result)
    frame = frame_of(whole, "theory_residual")
    of_run = frame.groupby(RUN, sort=False).theory_residual
    frame["theory_residual"] -= of_run.transform("mean")
    by_curve = frame.groupby(["dataset", "model", "component"], sort=False).theory_residual
    table = by_curve.agg(mean="mean", low="min", high="max", n="count").reset_index()
    names = frame_of(whole, "eigenvalue")
    columns = ["dataset", "component", "eigenvalue", *COMPONENT_COORDS]
    return table.merge(names[columns], on=["dataset", "component"], how="left")


def residuals(result: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw what each energy profile has beyond its best theoretical profile.

    This is the logarithm of energy over theory, minus its mean over the components of a network.
    Of several seeds the line is the mean and the band the range. What two models share beyond the
    theory, ``beyond_theory`` in the result, is the correlation of these curves. Networks that the
    theory does not describe have none; the title counts models without one.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters
    ax : matplotlib axes to draw in; a new figure by default

    Returns
    -------
    matplotlib.axes.Axes
        Its ``child_axes`` are the panels if there are several.

    Raises
    ------
    UsageError
        If the theory describes none of the networks, the result has no such numbers, or matplotlib
        is not installed.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> rs.plot.residuals(rs.example_result()).get_ylabel()
    'log (energy / theory)'
    """
    table = residuals_table(result).assign(init=np.nan, theory=np.nan)
    title = f"beyond the theory, stage {attribute_of(result, 'stage')}"
    missing = "the theory describes none of these networks, by their r with theory"
    return draw_curves(ax, result, table, Quantity(title, "log (energy / theory)", missing, False))
