"""Energy profiles over components, with their initialization and their theoretical profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_energy.errors import UsageError
from repsim_energy.numerics.profiles.theory import theoretical_profile
from repsim_energy.plot.component_strip import draw_strip, has_one_basis
from repsim_energy.plot.frames import at_labels, frame_of, left_out, names_of
from repsim_energy.plot.labels import label_of, short_labels
from repsim_energy.plot.layout import (
    PANEL_POINTS,
    add_legend,
    axes_or_new,
    characters_in,
    inches_of,
    panels,
    points,
    set_labels,
    set_title,
)
from repsim_energy.plot.style import REFERENCE, background, foreground, line_style
from repsim_energy.results import COMPONENT_COORDS, with_component_coords
from repsim_energy.results import profiles as profiles_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["profiles", "profiles_table"]

MAX_CURVES = 4
"""Curves in one panel. More than these are drawn in a panel each."""

MAX_COLUMNS = 4
"""Panels in a row of a new figure."""

MIN_NAMED_INCHES = 2.5
"""Height of axes from which on there is room for the names of components."""

GAP_INCHES = (0.2, 0.28)
"""Inches between the columns and above the rows of panels."""

KEYS = ["dataset", "model", "component"]

Curves = list[tuple[str, pd.DataFrame]]
"""Name and rows of each curve."""


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
    table = table[table["n"] > 0]  # a failed training has no profile
    if not len(table):
        raise UsageError(
            "the result has no energy profile at this stage; choose another one with stage="
        )
    chosen = stage or result.attrs["stage"]
    groups = list(table.groupby(names_of(table), sort=False))
    single = len(groups) <= MAX_CURVES
    size = (8.6, 4.6) if single else (11, 1.9 * -(-len(groups) // MAX_COLUMNS) + 1.2)
    ax = axes_or_new(ax, size)
    curves = [(str(name), rows) for name, rows in groups]
    pad = (_draw_shared if single else _draw_panels)(ax, result, curves, init, theory)
    set_title(ax, f"energy profiles, stage {chosen}{left_out(result, table.model)}", pad=pad)
    return ax


def _draw_shared(ax: Axes, result: xr.Dataset, curves: Curves, init: bool, theory: bool) -> float:
    """Draw all models in one panel, and return the points that the legend needs above it."""
    labels = short_labels([name for name, _ in curves])
    drawn = [_draw(ax, rows, number, theory) for number, (_, rows) in enumerate(curves)]
    entries = _references(ax, [rows for _, rows in curves], init, theory)
    pad = add_legend(ax, [*drawn, *entries.values()], [*labels, *entries])
    table = pd.concat([rows for _, rows in curves])
    strip = has_one_basis(result, table)
    set_labels(ax, "" if strip else "component", "energy / largest")
    ax.set_ylim(bottom=0)
    if strip:
        named = inches_of(ax)[1] >= MIN_NAMED_INCHES
        draw_strip(ax, result, table, named=named, size=points(ax, 7))
    return pad


def _draw_panels(ax: Axes, result: xr.Dataset, curves: Curves, init: bool, theory: bool) -> float:
    """Draw each model in a panel of its own, on one scale. Return the points above the panels."""
    made = panels(ax, len(curves), MAX_COLUMNS, gaps=GAP_INCHES, shape=1.5)
    size = points(ax, PANEL_POINTS)
    characters = characters_in(inches_of(made.places[0])[0] + GAP_INCHES[0], size)
    labels = short_labels([name for name, _ in curves], characters)
    top = max(float(rows[["high", "theory", "init"]].max().max()) for _, rows in curves)
    entries: dict[str, Any] = {}
    for number, (place, (_, rows)) in enumerate(zip(made.places, curves, strict=True)):
        _draw(place, rows, 0, theory)
        entries |= _references(place, [rows], init, theory)
        place.set_title(label_of(labels[number]), fontsize=size, pad=3, y=1.0)
        place.set_ylim(0, 1.05 * top)
        place.tick_params(labelsize=points(ax, 7))
        if not made.is_left(number):
            place.tick_params(labelleft=False)
        elif made.in_labeled_row(number):
            place.set_ylabel("energy / largest", fontsize=size)
        if not made.is_bottom(number):
            place.tick_params(labelbottom=False)
        elif has_one_basis(result, rows):
            draw_strip(place, result, rows, named=False, size=points(ax, 7))
        else:
            place.set_xlabel("component", fontsize=size)
    shared = made.places[-1].get_xlim()  # that of the panels with images
    for place in made.places:
        place.set_xlim(shared)
    return add_legend(ax, list(entries.values()), list(entries), where="above")


def _draw(ax: Axes, rows: pd.DataFrame, number: int, theory: bool) -> Any:
    """Draw one model's curve, and return its line."""
    style, size = line_style(number), points(ax, 4.5)
    marker, color = style.pop("marker"), style["color"]
    ax.fill_between(rows.component, rows.low, rows.high, color=color, alpha=0.22, linewidth=0)
    (line,) = ax.plot(
        rows.component, rows["mean"], marker=marker, markersize=size, linewidth=1.5, **style
    )
    if theory and rows.theory.notna().any():
        ax.plot(rows.component, rows.theory, color=color, linewidth=0.8)
    chromatic = rows[rows.chromatic_share > 0.5]
    ax.plot(
        chromatic.component,
        chromatic["mean"],
        marker,
        markersize=size,
        markerfacecolor=background(),
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
        (entries["theory, fitted"],) = ax.plot([], [], color=foreground(), linewidth=0.8)
    if any((rows.chromatic_share > 0.5).any() for rows in curves):
        (entries["mostly color"],) = ax.plot(
            [],
            [],
            "o",
            markersize=points(ax, 4.5),
            markerfacecolor=background(),
            markeredgecolor=foreground(),
        )
    return entries
