"""Curves over components: one for each model, with a band, in one panel or a panel each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from repsim_energy.errors import UsageError
from repsim_energy.plot.component_strip import draw_strip, has_one_basis
from repsim_energy.plot.frames import left_out, names_of
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

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["Quantity", "draw_curves"]

MAX_CURVES = 4
"""Curves in one panel. More than these are drawn in a panel each."""

MAX_COLUMNS = 4
"""Panels in a row of a new figure."""

MIN_NAMED_INCHES = 2.5
"""Height of axes from which on there is room for the names of components."""

GAP_INCHES = (0.2, 0.28)
"""Inches between the columns and above the rows of panels."""

Curves = list[tuple[str, pd.DataFrame]]
"""Name and rows of each curve."""


class Quantity(NamedTuple):
    """The quantity that is drawn.

    Parameters
    ----------
    title : of the figure
    label : of the vertical axis
    missing : the error where no model has a curve
    from_zero : whether the axis begins at 0; else a line marks 0
    """

    title: str
    label: str
    missing: str
    from_zero: bool


def draw_curves(
    ax: Axes | None, result: xr.Dataset, table: pd.DataFrame, quantity: Quantity
) -> Axes:
    """Draw the curve of each model over the components.

    Up to four models share one panel, more have a panel each.

    Parameters
    ----------
    ax : matplotlib axes to draw in; a new figure if ``None``
    table : a row for each component of each model: ``mean``, ``low`` and ``high`` over ``n`` seeds,
        reference curves ``init`` and ``theory`` (NaN: none), ``chromatic_share``

    Raises
    ------
    UsageError
        If no model has a curve, or matplotlib is not installed.
    """
    table = table[table["n"] > 0]  # a failed training has no curve
    if not len(table):
        raise UsageError(quantity.missing)
    groups = list(table.groupby(names_of(table), sort=False))
    single = len(groups) <= MAX_CURVES
    size = (8.6, 4.6) if single else (11, 1.9 * -(-len(groups) // MAX_COLUMNS) + 1.2)
    ax = axes_or_new(ax, size)
    curves = [(str(name), rows) for name, rows in groups]
    pad = (_draw_shared if single else _draw_panels)(ax, result, curves, quantity)
    set_title(ax, f"{quantity.title}{left_out(result, table.model)}", pad=pad)
    return ax


def _draw_shared(ax: Axes, result: xr.Dataset, curves: Curves, quantity: Quantity) -> float:
    """Draw all models in one panel, and return the points that the legend needs above it."""
    labels = short_labels([name for name, _ in curves])
    drawn = [_draw(ax, rows, number) for number, (_, rows) in enumerate(curves)]
    entries = _references(ax, [rows for _, rows in curves])
    pad = add_legend(ax, [*drawn, *entries.values()], [*labels, *entries])
    table = pd.concat([rows for _, rows in curves])
    strip = has_one_basis(result, table)
    set_labels(ax, "" if strip else "component", quantity.label)
    if quantity.from_zero:
        ax.set_ylim(bottom=0)
    else:
        _mark_zero(ax)
    if strip:
        named = inches_of(ax)[1] >= MIN_NAMED_INCHES
        draw_strip(ax, result, table, named=named, size=points(ax, 7))
    return pad


def _draw_panels(ax: Axes, result: xr.Dataset, curves: Curves, quantity: Quantity) -> float:
    """Draw each model in a panel of its own, on one scale. Return the points above the panels."""
    made = panels(ax, len(curves), MAX_COLUMNS, gaps=GAP_INCHES, shape=1.5)
    size = points(ax, PANEL_POINTS)
    characters = characters_in(inches_of(made.places[0])[0] + GAP_INCHES[0], size)
    labels = short_labels([name for name, _ in curves], characters)
    ends = pd.concat([rows[["low", "high", "theory", "init"]] for _, rows in curves])
    bottom, top = float(ends.min().min()), float(ends.max().max())
    limits = (0, 1.05 * top) if quantity.from_zero else (bottom, top)
    entries: dict[str, Any] = {}
    for number, (place, (_, rows)) in enumerate(zip(made.places, curves, strict=True)):
        _draw(place, rows, 0)
        entries |= _references(place, [rows])
        place.set_title(label_of(labels[number]), fontsize=size, pad=3, y=1.0)
        place.set_ylim(limits)
        if not quantity.from_zero:
            _mark_zero(place)
        place.tick_params(labelsize=points(ax, 7))
        if not made.is_left(number):
            place.tick_params(labelleft=False)
        elif made.in_labeled_row(number):
            place.set_ylabel(quantity.label, fontsize=size)
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


def _draw(ax: Axes, rows: pd.DataFrame, number: int) -> Any:
    """Draw one model's curve, and return its line."""
    style, size = line_style(number), points(ax, 4.5)
    marker, color = style.pop("marker"), style["color"]
    ax.fill_between(rows.component, rows.low, rows.high, color=color, alpha=0.22, linewidth=0)
    (line,) = ax.plot(
        rows.component, rows["mean"], marker=marker, markersize=size, linewidth=1.5, **style
    )
    if rows.theory.notna().any():
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


def _references(ax: Axes, curves: list[pd.DataFrame]) -> dict[str, Any]:
    """Draw the initial profiles in gray, and return the entries of the legend."""
    entries: dict[str, Any] = {}
    for rows in curves:
        if rows.init.notna().any():
            (line,) = ax.plot(
                rows.component, rows.init, ":", color=REFERENCE, linewidth=1.3, zorder=1
            )
            entries["initialization"] = line
    if any(rows.theory.notna().any() for rows in curves):
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


def _mark_zero(ax: Axes) -> None:
    ax.axhline(0, color=REFERENCE, linewidth=0.8, zorder=0)
