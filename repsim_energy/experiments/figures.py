"""Figures of results. They need matplotlib, the extra ``plot``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.plot.filter_grids import grid_of
from repsim_energy.plot.style import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

__all__ = [
    "draw_curves",
    "draw_filters",
    "draw_intervals",
    "draw_map",
    "draw_matrix",
    "draw_points",
    "draw_profiles",
    "new_figure",
    "save_figure",
    "scale_each",
]

PANEL_INCHES = (4.8, 3.4)
"""Width and height in inches."""


def new_figure(panels: int, *, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Return a figure with this number of panels, row by row."""
    from matplotlib.figure import Figure

    across = min(panels, columns)
    down = -(-panels // across)
    figure = Figure((PANEL_INCHES[0] * across, PANEL_INCHES[1] * down), layout="constrained")
    axes = [figure.add_subplot(down, across, number + 1) for number in range(panels)]
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to ``path`` with the suffixes .svg and .png, arranged once for both."""
    write_figure(figure, path.with_suffix(".svg"))
    figure.set_layout_engine("none")
    write_figure(figure, path.with_suffix(".png"), dpi=110)


def draw_profiles(
    axes: Axes, profiles: Mapping[str, ArrayLike], title: str, *, log: bool = False
) -> None:
    """Draw energy profiles, each scaled to a maximum of 1.

    Parameters
    ----------
    profiles : label -> (d,), or (n, d), drawn as mean and range over n networks
    """
    for label, values in profiles.items():
        rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
        known = np.flatnonzero(np.isfinite(rows).any(0))  # the others have no variance
        rows = rows[np.isfinite(rows[:, known]).all(1)][:, known]
        if len(rows):
            _draw_band(axes, known, rows / rows.max(1, keepdims=True), label)
    if log:
        axes.set_yscale("log")
    _label(axes, title, "component", "energy / maximum")


def draw_curves(
    axes: Axes,
    x: ArrayLike,
    curves: Mapping[str, ArrayLike],
    title: str,
    xlabel: str,
    ylabel: str,
    *,
    style: str = "-",
    **scales: str,
) -> None:
    """Draw curves over x.

    Parameters
    ----------
    x : (m,)
    curves : label -> (m,), or (n, m), drawn as mean and range over n networks
    style : matplotlib's line style
    scales : ``xscale`` and ``yscale`` of the axes
    """
    for label, values in curves.items():
        rows = np.atleast_2d(np.asarray(values, dtype=np.float64))
        _draw_band(axes, np.asarray(x), rows, label, style)
    axes.set(**scales)
    _label(axes, title, xlabel, ylabel)


def _draw_band(
    axes: Axes, x: NDArray[Any], rows: NDArray[np.float64], label: str, style: str = "-"
) -> None:
    (line,) = axes.plot(x, rows.mean(0), style, label=label, linewidth=1.4)
    if len(rows) > 1:
        axes.fill_between(x, rows.min(0), rows.max(0), color=line.get_color(), alpha=0.2, lw=0)


def _label(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small", frameon=False)


def draw_matrix(
    axes: Axes,
    rows: Sequence[str],
    values: ArrayLike,
    title: str,
    *,
    columns: Sequence[str] | None = None,
    numbers: bool = True,
) -> None:
    """Draw a matrix of correlations; ``numbers`` writes the values into the cells."""
    cells = np.asarray(values, dtype=np.float64)
    columns = rows if columns is None else columns
    axes.imshow(cells, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=6)
    axes.set_yticks(range(len(rows)), rows, fontsize=6)
    for (i, j), value in np.ndenumerate(cells):
        if numbers and np.isfinite(value):
            color = "white" if abs(value) > 0.6 else "black"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=5, color=color)
    axes.set_title(title)


def draw_intervals(
    axes: Axes, rows: Mapping[str, tuple[float, float, float]], title: str, xlabel: str
) -> None:
    """Draw a number between 0 and 1 and its interval in each row, the first at the top.

    Parameters
    ----------
    rows : label -> number, lower end, upper end
    """
    for place, (value, low, high) in enumerate(rows.values()):
        axes.plot([low, high], [place, place], color="C0", linewidth=1.4)
        axes.plot(value, place, "o", color="C0", markersize=4)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=6)
    axes.invert_yaxis()
    axes.set(xlim=(-0.02, 1.02), title=title, xlabel=xlabel)


def draw_points(
    axes: Axes,
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    xlabel: str,
    ylabel: str,
) -> None:
    """Draw groups of points.

    Parameters
    ----------
    groups : label -> x and y, each (n,)
    """
    for label, (x, y) in groups.items():
        axes.scatter(np.asarray(x), np.asarray(y), s=5, label=label, alpha=0.7, linewidths=0)
    _label(axes, title, xlabel, ylabel)


def draw_map(axes: Axes, values: ArrayLike, title: str, label: str) -> None:
    """Draw a (2m + 1, 2m + 1) map of correlations with shift zero at the center."""
    cells = np.asarray(values, dtype=np.float64)
    m = len(cells) // 2
    edge = m + 0.5
    axes.imshow(cells, vmin=-1, vmax=1, cmap="RdBu_r", extent=(-edge, edge, edge, -edge))
    axes.set(title=title, xlabel=label, ylabel=label)


def draw_filters(axes: Axes, filters: Tensor, title: str, *, limit: float) -> None:
    """Draw filters as a square grid of color images.

    Parameters
    ----------
    filters : (k, c, kh, kw); of other than three channels, the first one is drawn in gray
    limit : absolute weight drawn as black (negative) or white (positive)
    """
    axes.imshow(grid_of(filters.double().numpy(), limit), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)


def scale_each(filters: Tensor) -> Tensor:
    """Return (k, c, kh, kw) filters, each divided by its largest absolute weight, zero ones not."""
    largest = filters.abs().amax((1, 2, 3), keepdim=True)
    return filters / largest.masked_fill(largest == 0, 1)
