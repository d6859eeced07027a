"""Correlation of each profile with the theoretical profile that fits best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.plot.frames import frame_of, left_out, names_of
from repsim_energy.plot.labels import MAX_CHARACTERS, label_of, short_labels
from repsim_energy.plot.layout import (
    add_legend,
    axes_or_new,
    characters_in,
    inches_of,
    points,
    set_labels,
    set_title,
    text_width,
)
from repsim_energy.plot.style import REFERENCE, palette
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["fit", "fit_table"]

FIELDS = ("fit_correlation", "fit_steps", "fit_at_bound")


def fit_table(result: xr.Dataset) -> pd.DataFrame:
    """Return a row for each network and stage: correlation and steps of its fit.

    ``fit_at_bound`` is 1 if the steps are the first or last ones searched. ``mean_correlation`` and
    ``median_steps`` are those over the seeds of the model.
    """
    table = frame_of(result, FIELDS[0])
    keys = ["dataset", "model", "seed", "stage"]
    for name in FIELDS[1:]:
        other = frame_of(result, name)
        table = table.merge(other[[*keys, name]], on=keys, how="left")
    table = table[[*keys, *FIELDS]]
    of_model = table.groupby([name for name in keys if name != "seed"], sort=False)
    return table.assign(
        mean_correlation=of_model.fit_correlation.transform("mean"),
        median_steps=of_model.fit_steps.transform("median"),
    )


def fit(result: xr.Dataset, *, ax: Axes | None = None, stage: str | None = None) -> Axes:
    """Draw the correlation of each profile with the theoretical profile of a linear CNN.

    A row is a model. Filled markers are its seeds, the vertical line is their mean, open gray
    markers are the same networks at initialization. Triangles mark fits whose number of steps is
    the first or last one searched. On the right is the median number of gradient steps. The axis
    includes 0 and 1. The title counts models without a fit.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters
    ax : matplotlib axes to draw in; a new figure by default
    stage : ``init``, ``trained`` or ``change``; by default the stage that was compared

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        If the result has no fits or not this stage, or matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 3, 3)}, torch.rand(20, 1, 8, 8))
    >>> [text.get_text() for text in rs.plot.fit(result).get_yticklabels()]
    ['a']
    """
    table = fit_table(result)
    chosen = str(attribute_of(result, "stage", "trained") if stage is None else stage)
    if chosen not in set(table.stage):
        raise unknown_name("stage", chosen, set(table.stage))
    table = table.assign(name=names_of(table))
    compared = table[(table.stage == chosen) & table.fit_correlation.notna()]
    if not len(compared):
        raise UsageError(
            f"all fits at stage {chosen} are undefined; choose another one with stage="
        )
    names = list(dict.fromkeys(compared.name))
    ax = axes_or_new(ax, (6.4 + text_width(short_labels(names), 9), 0.32 * len(names) + 1.5))
    handles = {}
    if chosen != "init":
        start = table[(table.stage == "init") & table.name.isin(names)]
        handles = _draw_seeds(ax, start, names, "initialization", REFERENCE, filled=False)
    handles |= _draw_seeds(ax, compared, names, chosen, palette()[0], filled=True)
    _draw_means(ax, compared, names)
    set_labels(ax, "correlation with the fitted theoretical profile")
    room = characters_in(0.4 * inches_of(ax)[0], points(ax, 9))
    labels = short_labels(names, min(MAX_CHARACTERS, room))
    ax.set_yticks(range(len(names)), [label_of(label) for label in labels])
    lowest = float(min(0.0, table[table.name.isin(names)].fit_correlation.min()))
    ax.set(xlim=(lowest - 0.03, 1.03), ylim=(len(names) - 0.4, -0.6))
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    pad = add_legend(ax, list(handles.values()), list(handles))
    set_title(ax, f"fit of the theory, stage {chosen}{left_out(result, compared.model)}", pad=pad)
    if (legend := ax.get_legend()) is not None and not pad:
        legend.set_bbox_to_anchor((1.15, 1.0))
    return ax


def _draw_seeds(
    ax: Axes, rows: pd.DataFrame, names: list[str], label: str, color: str, *, filled: bool
) -> dict[str, Any]:
    """Draw a marker for each network, and return the entries of the legend."""
    places = np.array([names.index(name) for name in rows.name], dtype=np.float64)
    bound = (rows.fit_at_bound == 1).to_numpy()
    size, entries = points(ax, 5), {}
    for chosen, marker, note in ((~bound, "o", ""), (bound, "^", " at a bound")):
        if chosen.any():
            entries[label + note] = ax.plot(
                rows.fit_correlation[chosen],
                places[chosen],
                marker,
                color=color,
                markerfacecolor=color if filled else "none",
                markersize=size,
            )[0]
    return entries


def _draw_means(ax: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Draw the mean correlation of each model, and write its median number of steps."""
    by_name = rows.groupby("name", sort=False)
    means, steps = by_name.mean_correlation.first(), by_name.median_steps.first()
    place_of_steps, size = ax.get_yaxis_transform(), points(ax, 8)
    for place, name in enumerate(names):
        ax.plot([means[name]] * 2, [place - 0.3, place + 0.3], color=palette()[0], linewidth=1.5)
        if np.isfinite(steps[name]):
            text = f"{steps[name]:.3g} steps"
            ax.text(1.01, place, text, transform=place_of_steps, va="center", fontsize=size)
