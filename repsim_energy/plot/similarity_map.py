"""Similarities as a labeled heat map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from repsim_energy.errors import unknown_name
from repsim_energy.plot.labels import MAX_CHARACTERS, label_of, short_labels
from repsim_energy.plot.layout import (
    CHARACTER_WIDTH,
    axes_or_new,
    characters_in,
    inches_of,
    points,
    run_layout,
    set_title,
    text_width,
)
from repsim_energy.plot.style import foreground
from repsim_energy.results import table as table_of
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["similarity", "similarity_table"]

Order = Literal["given", "cluster"]

MAX_SPREAD_ROWS = 8
"""Rows of a new figure that has room for standard deviations in its cells."""

MIN_POINTS = 4.5
"""Size of the smallest numbers in cells. Cells with no room for them have none."""

STATISTICS = {"mean": "mean", "std": "std", "n": "n", "null_low": "low", "null_high": "high"}
"""Column of the table -> statistic of :func:`repsim_energy.table`."""


def similarity_table(result: xr.Dataset, of: str = "similarity") -> pd.DataFrame:
    """Return a row for each cell of :func:`similarity`.

    ``in_null`` is 1 if the mean lies within the null interval, 0 if not, NaN without an interval.
    """
    columns = {}
    for name, statistic in STATISTICS.items():
        columns[name] = table_of(result, statistic, of).stack(future_stack=True)  # type: ignore[arg-type]
    frame = pd.DataFrame(columns)
    frame.index = frame.index.set_names(["group", "group_ref"])
    frame = frame.reset_index()
    inside = frame["mean"].between(frame.null_low, frame.null_high).astype(float)
    defined = frame[["mean", "null_low", "null_high"]].notna().all(axis=1)
    return frame.assign(in_null=inside.where(defined))


def similarity(
    result: xr.Dataset,
    *,
    ax: Axes | None = None,
    order: Order = "given",
    of: str = "similarity",
) -> Axes:
    """Draw the similarities between models as a heat map with its values written in.

    A cell is the mean over pairs of seeds, with their standard deviation below it if there is room.
    Values within the null interval are in parentheses: unrelated networks have such values, too.
    The color bar marks the mean null interval. Cells without a pair are hatched. The scale includes
    0, 1 and the null interval, and is brighter for more similar networks.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare`, of any metric
    ax : matplotlib axes to draw in; a new figure by default
    order : ``given``, or ``cluster``: similar models beside each other (average linkage)
    of : ``similarity``, or ``beyond_theory`` for what filters share beyond the theory

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    UsageError
        If there are no similarities, for another order, or if matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 2, 2)}, torch.rand(20, 1, 6, 6))
    >>> [text.get_text() for text in rs.plot.similarity(result).get_yticklabels()]
    ['a']
    """
    if order not in get_args(Order):
        raise unknown_name("order", str(order), get_args(Order))
    frame = similarity_table(result, of)
    labels = list(dict.fromkeys(frame.group))
    cells = {
        name: frame[name].to_numpy(dtype=np.float64).reshape(len(labels), len(labels))
        for name in ("mean", "std", "null_low", "null_high", "in_null")
    }
    beyond = of != "similarity"
    distance = attribute_of(result, "direction", "") == "distance" and not beyond
    if order == "cluster":
        places = _clustered(cells["mean"], distance)
        cells = {name: values[np.ix_(places, places)] for name, values in cells.items()}
        labels = [labels[place] for place in places]
    side = max(3.2, (0.62 if len(labels) <= MAX_SPREAD_ROWS else 0.36) * len(labels))
    wide = text_width(short_labels(labels), 8)
    ax = axes_or_new(ax, (side + wide + 2, side + 0.9 * wide + 1))
    image = _draw_cells(ax, cells["mean"], cells["null_low"], distance)
    _write_labels(ax, labels)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7)
    bar.set_label("distance" if distance else "similarity", fontsize=points(ax, 9))
    bar.ax.tick_params(labelsize=points(ax, 8))
    _mark_null(bar.ax, cells["null_low"], cells["null_high"], points(ax, 7))
    run_layout(ax)  # which decides the size of the cells
    notes = _write_numbers(ax, image, cells)
    ax.set_xlabel("\n".join(notes), fontsize=points(ax, 7.5))
    datasets = ", ".join(short_labels(list(map(str, np.atleast_1d(result["dataset"].values)))))
    stage = f", stage {attribute_of(result, 'stage')}" if attribute_of(result, "stage", "") else ""
    name = "r beyond theory" if beyond else attribute_of(result, "metric", "similarity")
    set_title(ax, f"{name} on {datasets}{stage}")
    run_layout(ax)  # with the notes and the title
    return ax


def _write_labels(ax: Axes, names: list[str]) -> None:
    """Write the names of rows and columns in a size that fits the cells."""
    inches = min(inches_of(ax))
    size = max(MIN_POINTS, min(points(ax, 9), 0.6 * 72 * inches / len(names)))
    room = characters_in(0.4 * inches, size)
    labels = [label_of(label) for label in short_labels(names, min(MAX_CHARACTERS, room))]
    places = range(len(labels))
    ax.set_xticks(places, labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=size)
    ax.set_yticks(places, labels, fontsize=size)


def _mark_null(
    bar: Axes, lows: NDArray[np.float64], highs: NDArray[np.float64], size: float
) -> None:
    """Mark the mean null interval beside the color bar."""
    defined = np.isfinite(lows) & np.isfinite(highs)
    if not defined.any():
        return
    low, high = lows[defined].mean(), highs[defined].mean()
    place = bar.get_yaxis_transform()
    bar.plot(
        [-0.15, -0.15],
        [low, high],
        color=foreground(),
        linewidth=2,
        transform=place,
        clip_on=False,
    )
    bar.text(
        -0.3,
        (low + high) / 2,
        "null interval",
        rotation=90,
        ha="right",
        va="center",
        fontsize=size,
        transform=place,
    )


def _clustered(means: NDArray[np.float64], distance: bool) -> list[int]:
    """Return the order of rows in which similar rows are neighbors."""
    from scipy.cluster.hierarchy import average, leaves_list, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(means) < 3:
        return list(range(len(means)))
    off = ~np.eye(len(means), dtype=bool)
    known = means[off & np.isfinite(means)]
    largest = known.max() if known.size else 1.0
    apart = means if distance else largest - means
    worst = np.nanmax(apart[off], initial=0.0)
    apart = np.where(np.isfinite(apart), apart, worst)
    condensed = squareform(np.where(off, (apart + apart.T) / 2, 0.0), checks=False)
    return [int(p) for p in leaves_list(optimal_leaf_ordering(average(condensed), condensed))]


def _draw_cells(
    ax: Axes, means: NDArray[np.float64], nulls: NDArray[np.float64], distance: bool
) -> Any:
    """Draw the cells on a scale that includes the null interval.

    Cells without a value are hatched.
    """
    known = [float(v) for values in (means, nulls) for v in values[np.isfinite(values)]]
    lowest, highest = min(known, default=0.0), max(known, default=1.0)
    color, low, high = "cividis", min(0.0, lowest), max(1.0, highest)
    if distance:
        color, high = "cividis_r", highest if highest > 0 else 1.0
    ax.patch.set(hatch="////", facecolor="white", edgecolor="#bbbbbb")
    return ax.imshow(means, aspect="equal", cmap=color, vmin=low, vmax=high)


def _write_numbers(ax: Axes, image: Any, cells: dict[str, NDArray[np.float64]]) -> list[str]:
    """Write the value into each cell, in parentheses if it is within the null interval.

    Returns
    -------
    list of str
        Explanations of what is drawn.
    """
    means, inside = cells["mean"], cells["in_null"] == 1
    size, digits, spreads = _number_format(ax, len(means), bool(inside.any()))
    spreads = spreads and bool(np.isfinite(cells["std"]).any())
    notes = []
    if size >= MIN_POINTS:
        for (i, j), value in np.ndenumerate(means):
            if not np.isfinite(value):
                continue
            text = f"({value:.{digits}f})" if inside[i, j] else f"{value:.{digits}f}"
            if spreads and np.isfinite(cells["std"][i, j]):
                text += f"\n±{cells['std'][i, j]:.3f}"
            brightness = float(np.dot(image.to_rgba(value)[:3], (0.2126, 0.7152, 0.0722)))
            color = "white" if brightness < 0.45 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
        notes += ["in parentheses: within the null interval"] if inside.any() else []
        notes += ["±: standard deviation over pairs of seeds"] if spreads else []
    return notes + (["hatched: no pair"] if np.isnan(means).any() else [])


def _number_format(ax: Axes, rows: int, parentheses: bool) -> tuple[float, int, bool]:
    """Return size and decimals of the numbers in cells, and whether the standard deviations fit."""
    cell = 0.9 * 72 * min(inches_of(ax)) / rows  # points
    largest, extra = points(ax, 8), 2 if parentheses else 0
    sizes = {digits: cell / (CHARACTER_WIDTH * (2 + digits + extra)) for digits in (2, 3)}
    spreads = min(sizes[3], cell / (CHARACTER_WIDTH * len(" ±0.000 ")))
    if spreads >= 0.8 * largest:
        return min(largest, spreads), 3, True
    return min(largest, sizes[2]), 2, False
