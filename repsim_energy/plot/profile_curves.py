"""Energy profiles over components, with their initialization and their theoretical profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_energy.errors import UsageError
from repsim_energy.numerics.profiles.theory import theoretical_profile
from repsim_energy.plot.frames import (
    at_labels,
    component_images,
    component_names,
    frame_of,
    names_of,
)
from repsim_energy.plot.style import (
    REFERENCE,
    add_legend,
    axes_or_new,
    image_of,
    label_of,
    line_style,
    panels,
    set_title,
)
from repsim_energy.results import COMPONENT_COORDS, with_component_coords
from repsim_energy.results import profiles as profiles_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["profiles", "profiles_table"]

MAX_CURVES = 4
"""Curves in one panel. More than these are drawn in a panel each."""

MAX_IMAGES = 30
"""Components with an image and a name under the axis."""

COLUMNS = 4
"""Panels in a row."""

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
    chosen = stage or str(whole.attrs["stage"])
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
    one = theoretical_profile(
        variance[known], step_size=0.5 / largest, steps=float(np.exp(np.median(np.log(steps))))
    )
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
    panel each. Below a single panel of at most 30 components are their images and names:
    number, mean spatial frequency in cycles per pixel, orientation, and gray or color.

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
    if not len(table):
        raise UsageError(
            "the result has no energy profile at this stage; choose another one with stage="
        )
    curves = [(name, rows) for name, rows in table.groupby(names_of(table), sort=False)]
    chosen = stage or result.attrs["stage"]
    if len(curves) <= MAX_CURVES:
        ax = axes_or_new(ax, (8.6, 4.6))
        drawn = {}
        for number, (name, rows) in enumerate(curves):
            drawn[str(name)] = _draw(ax, rows, number, theory)
        drawn |= _references(ax, [rows for _, rows in curves], init, theory)
        add_legend(ax, list(drawn.values()), list(drawn))
        ax.set_ylabel("energy / largest")
        ax.set_ylim(bottom=0)
        _label_components(ax, result, table)
    else:
        rows_of_panels = -(-len(curves) // COLUMNS)
        ax = axes_or_new(ax, (11, 1.9 * rows_of_panels + 0.6))
        _draw_panels(ax, curves, init, theory)
    set_title(ax, f"energy profiles, stage {chosen}", pad=8 if len(curves) <= MAX_CURVES else 22)
    return ax


def _draw(ax: Axes, rows: pd.DataFrame, number: int, theory: bool) -> Any:
    """Draw one model's curve, and return its line."""
    style = line_style(number)
    marker, color = style.pop("marker"), style["color"]
    ax.fill_between(rows.component, rows.low, rows.high, color=color, alpha=0.22, linewidth=0)
    (line,) = ax.plot(
        rows.component, rows["mean"], marker=marker, markersize=4.5, linewidth=1.5, **style
    )
    if theory and rows.theory.notna().any():
        ax.plot(rows.component, rows.theory, color=color, linewidth=0.8)
    chromatic = rows[rows.chromatic_share > 0.5]
    ax.plot(
        chromatic.component,
        chromatic["mean"],
        marker,
        markersize=4.5,
        markerfacecolor="white",
        markeredgecolor=color,
    )
    return line


def _references(ax: Axes, curves: list[pd.DataFrame], init: bool, theory: bool) -> dict[str, Any]:
    """Draw the initial profiles in gray, and return the entries of the legend."""
    entries: dict[str, Any] = {}
    starts = [rows for rows in curves if rows.init.notna().any()] if init else []
    for rows in starts:
        (line,) = ax.plot(rows.component, rows.init, ":", color=REFERENCE, linewidth=1.3, zorder=1)
        entries["initialization"] = line
    if theory and any(rows.theory.notna().any() for rows in curves):
        (entries["theory, fitted"],) = ax.plot([], [], color="black", linewidth=0.8)
    if any((rows.chromatic_share > 0.5).any() for rows in curves):
        (entries["mostly color"],) = ax.plot(
            [], [], "o", markersize=4.5, markerfacecolor="white", markeredgecolor="black"
        )
    return entries


def _draw_panels(
    ax: Axes, curves: list[tuple[Any, pd.DataFrame]], init: bool, theory: bool
) -> None:
    """Draw each model in a panel of its own, on one scale."""
    places = panels(ax, len(curves), COLUMNS, gaps=(0.12, 0.42))
    top = max(float(rows[["high", "theory", "init"]].max().max()) for _, rows in curves)
    entries: dict[str, Any] = {}
    for number, (place, (name, rows)) in enumerate(zip(places, curves, strict=True)):
        _draw(place, rows, 0, theory)
        entries |= _references(place, [rows], init, theory)
        place.set_title(label_of(name), fontsize=8, pad=3)
        place.set_ylim(0, 1.05 * top)
        place.tick_params(labelsize=7)
        if number % COLUMNS:
            place.set_yticklabels([])
        if number + COLUMNS < len(curves):
            place.set_xticklabels([])
        else:
            place.set_xlabel("component", fontsize=8)
    places[0].set_ylabel("energy / largest", fontsize=8)
    add_legend(ax, list(entries.values()), list(entries))


def _label_components(ax: Axes, result: xr.Dataset, table: pd.DataFrame) -> None:
    """Put images and names of the components under the axis, if all curves have the same ones."""
    shared = table.drop_duplicates("component").sort_values("component")
    bases = set(np.atleast_1d(result["basis_id"].values)) if "basis_id" in result else set()
    one_basis = len(bases) == 1 or table.dataset.nunique() == 1
    if "components" not in result or not one_basis or len(shared) > MAX_IMAGES:
        ax.set_xlabel("component")
        return
    images = component_images(result, str(table.dataset.iloc[0]))
    first, last = ax.set_xlim(shared.component.min() - 0.6, shared.component.max() + 0.6)
    box = ax.get_window_extent()
    height = 2 * box.width / (last - first) / box.height
    strip = ax.inset_axes((0, -0.02 - height, 1, height), anchor="N")
    for number in shared.component:
        patch = images[int(number)]
        strip.imshow(
            image_of(patch, float(np.abs(patch).max())),
            extent=(number - 0.42, number + 0.42, -0.42, 0.42),
            interpolation="nearest",
        )
    strip.set(xlim=(first, last), ylim=(-0.5, 0.5), yticks=[])
    strip.set_xticks(shared.component, component_names(shared), rotation=90, fontsize=7)
    strip.spines[:].set_visible(False)
    strip.tick_params(length=0)
    strip.set_xlabel("component: cycles per pixel, orientation", fontsize=8)
    ax.tick_params(labelbottom=False)
