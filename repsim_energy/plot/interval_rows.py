"""Mean similarities with their confidence and null intervals, a row for each pair of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_energy.errors import UsageError
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
from repsim_energy.results import table as table_of
from repsim_energy.results.attributes import attribute_of
from repsim_energy.results.nulls import null_in_words

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["intervals", "intervals_table"]

STATISTICS = {
    "mean": "mean",
    "ci_low": "ci_low",
    "ci_high": "ci_high",
    "null_low": "low",
    "null_high": "high",
    "n": "n",
    "n_missing": "n_missing",
}
"""Column of the table -> statistic of :func:`repsim_energy.table`."""


def intervals_table(result: xr.Dataset) -> pd.DataFrame:
    """Return the rows of :func:`intervals`: each pair of models that has a mean similarity.

    ``n`` and ``n_missing`` count the pairs of networks in the mean, and those that failed.
    """
    tables = {name: table_of(result, statistic) for name, statistic in STATISTICS.items()}  # type: ignore[arg-type]
    groups = [str(label) for label in tables["mean"].index]
    rows = [
        {"group": groups[i], "group_ref": groups[j]}
        | {name: table.iloc[i, j] for name, table in tables.items()}
        for i in range(len(groups))
        for j in range(i, len(groups))
    ]
    frame = pd.DataFrame(rows, columns=["group", "group_ref", *STATISTICS])
    return frame[frame["mean"].notna()].reset_index(drop=True)


def intervals(result: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean similarity of each pair of models with its intervals.

    A row is a pair. The marker is the mean over pairs of seeds, the line its 95% confidence
    interval, the wide gray bar the null interval. Rows without a line have no confidence interval:
    nothing varies, or there is one pair.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare`, of any metric
    ax : matplotlib axes to draw in; a new figure by default

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        If there is no pair, or matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.rand(4, 1, 3, 3)
    >>> result = rs.compare({"a": bank, "b": bank.flip(3)}, torch.rand(40, 1, 8, 8))
    >>> [text.get_text() for text in rs.plot.intervals(result).get_yticklabels()]
    ['a, b']
    """
    table = intervals_table(result)
    if not len(table):
        raise UsageError("there is no pair of models to draw; compare at least two networks")
    names = [", ".join(pair) for pair in zip(table.group, table.group_ref, strict=True)]
    ax = axes_or_new(ax, (5.4 + text_width(short_labels(names), 9), 0.32 * len(names) + 1.5))
    handles = _draw_rows(ax, table, null_in_words(result))
    set_labels(ax, attribute_of(result, "direction", "similarity"))
    room = characters_in(0.45 * inches_of(ax)[0], points(ax, 9))
    labels = short_labels(names, min(MAX_CHARACTERS, room))
    ax.set_yticks(range(len(names)), [label_of(label) for label in labels])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="x", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    pad = add_legend(ax, list(handles.values()), list(handles))
    metric = attribute_of(result, "metric", "similarity")
    datasets = ", ".join(short_labels(list(map(str, np.atleast_1d(result["dataset"].values)))))
    set_title(ax, f"{metric} on {datasets}", pad=pad)
    return ax


def _draw_rows(ax: Axes, table: pd.DataFrame, null: str) -> dict[str, Any]:
    """Draw the intervals and means, and return the entries of the legend."""
    entries: dict[str, Any] = {}
    color, wide, thin = palette()[0], points(ax, 7), points(ax, 1.8)
    for place, row in enumerate(table.itertuples()):
        if row.null_low < row.null_high:
            ends = [row.null_low, row.null_high]
            (entries[f"95% of {null}"],) = ax.plot(
                ends,
                [place, place],
                color=REFERENCE,
                alpha=0.35,
                linewidth=wide,
                zorder=1,
                solid_capstyle="butt",
            )
        if row.ci_low < row.ci_high:
            ends = [row.ci_low, row.ci_high]
            (entries["95% confidence"],) = ax.plot(
                ends, [place, place], color=color, linewidth=thin, zorder=2
            )
        (entries["mean"],) = ax.plot(
            [row.mean], [place], "o", color=color, markersize=points(ax, 5), zorder=3
        )
    return entries
