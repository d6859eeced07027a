"""Energy profiles over components, with their initialization and their theoretical profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_energy.numerics.profiles.theory import theoretical_profile
from repsim_energy.plot.component_curves import Quantity, draw_curves
from repsim_energy.plot.frames import at_labels, frame_of
from repsim_energy.results import COMPONENT_COORDS, with_component_coords
from repsim_energy.results import profiles as profiles_of
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["profiles", "profiles_table"]

KEYS = ["dataset", "model", "component"]


def profiles_table(result: xr.Dataset, stage: str | None = None) -> pd.DataFrame:
    """Return the curves of :func:`profiles`, a row for each component of each model.

    Parameters
    ----------
    stage : by default the stage that was compared

    Returns
    -------
    pandas.DataFrame
        ``mean``, ``low`` and ``high``: mean, smallest and largest value over ``n`` seeds of
        profiles that are divided by their largest value. ``init``: the mean of the initial
        profiles, and ``theory``: the fitted theoretical profile of the median number of steps, in
        least squares to the mean. Both are NaN where they are not known. The other columns describe
        the component.
    """
    whole = with_component_coords(result)
    frame = profiles_of(whole, stage, normalized=True)
    by_curve = frame.groupby(KEYS, sort=False)["energy"]
    table = by_curve.agg(mean="mean", low="min", high="max", n="count").reset_index()
    stages = [str(name) for name in np.atleast_1d(whole["stage"].values)]
    chosen = stage or attribute_of(whole, "stage")
    if chosen != "init" and "init" in stages:
        start = profiles_of(whole, "init", normalized=True).groupby(KEYS)["energy"].mean()
        table = table.merge(start.rename("init").reset_index(), on=KEYS, how="left")
    else:
        table["init"] = np.nan
    table["theory"] = np.nan
    for (dataset, model), rows in table.groupby(["dataset", "model"], sort=False):
        curve = _theory(whole, dataset, model, chosen, rows["mean"].to_numpy())
        if curve is not None:
            table.loc[rows.index, "theory"] = curve[rows.component.to_numpy()]
    names = frame_of(whole, "eigenvalue")
    columns = ["dataset", "component", "eigenvalue", *COMPONENT_COORDS]
    return table.merge(names[columns], on=["dataset", "component"], how="left")


def _theory(
    result: xr.Dataset, dataset: Any, model: Any, stage: str, mean: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the fitted curve of a model over all components, scaled to its mean profile."""
    if "fit_steps" not in result:
        return None
    fits = at_labels(result.fit_steps, dataset=dataset, model=model, stage=stage)
    steps = fits.values.ravel()
    steps = steps[np.isfinite(steps)]
    variance = at_labels(result.eigenvalue, dataset=dataset).values
    known = np.isfinite(variance)
    if not len(steps) or known.sum() != len(mean) or not np.isfinite(mean).all():
        return None
    largest = variance[known].max()
    median = float(np.exp(np.median(np.log(steps))))
    if "kernel" in result.coords:  # smaller filters have other steps, on components of their own
        curves = at_labels(result.fit_profile, dataset=dataset, model=model, stage=stage)
        seed = np.nanargmin(np.abs(np.log(fits.values.ravel()) - np.log(median)))
        one = curves.values.reshape(fits.size, -1)[seed, known]
    else:
        one = theoretical_profile(variance[known], step_size=0.5 / largest, steps=median)
    curve = np.full(len(variance), np.nan)
    curve[known] = one * (mean @ one) / (one @ one)
    return curve


def profiles(
    result: xr.Dataset,
    *,
    ax: Axes | None = None,
    stage: str | None = None,
    init: bool = True,
    theory: bool = True,
) -> Axes:
    """Draw the energy profile of each model, divided by its largest value.

    Of several seeds the line is the mean and the band the range. Components whose energy is mostly
    color have open markers, the others filled ones. Up to four models share one panel, more have a
    panel each. The title counts models without a profile.

    Below the axis are images of the components, below a single panel with their names: number, mean
    spatial frequency in cycles per pixel, orientation, and gray or color. If there is no room for
    names, the images have numbers. Of more than 30 components, or in narrow axes, each second one
    has an image, or each third one and so on.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters
    ax : matplotlib axes to draw in; a new figure by default
    stage : ``init``, ``trained`` or ``change``; by default the stage that was compared
    init : whether to draw the profile of the initialization, where it is known
    theory : whether to draw the theoretical profile that fits best, as a thin line

    Returns
    -------
    matplotlib.axes.Axes
        Its ``child_axes`` are the panels if there are several.

    Raises
    ------
    UsageError
        If the result has no energy profiles or not this stage, or matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 3, 3)}, torch.rand(20, 1, 8, 8))
    >>> rs.plot.profiles(result).get_ylabel()
    'energy / largest'
    """
    table = profiles_table(result, stage)
    hidden = [name for name, wanted in (("init", init), ("theory", theory)) if not wanted]
    table[hidden] = np.nan
    title = f"energy profiles, stage {stage or attribute_of(result, 'stage')}"
    missing = "the result has no energy profile at this stage; choose another one with stage="
    return draw_curves(ax, result, table, Quantity(title, "energy / largest", missing, True))
