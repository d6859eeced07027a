"""Principal components as small images, and the spectrum of their eigenvalues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import unknown_name
from repsim_energy.plot.frames import component_images, component_names, frame_of
from repsim_energy.plot.style import (
    add_legend,
    axes_or_new,
    image_of,
    line_style,
    panels,
    set_title,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["components", "components_table", "spectrum"]

MAX_COMPONENTS = 60
"""Components that are drawn as images; the title counts the others."""

COLUMNS = 9
"""Images in a row."""


def components_table(result: xr.Dataset) -> pd.DataFrame:
    """Return a row for each component of each data set: eigenvalue, share and description."""
    frame = frame_of(result, "eigenvalue")
    total = frame.groupby("dataset")["eigenvalue"].transform("sum")
    frame["variance_share"] = frame.eigenvalue / total
    wanted = ["dataset", "component", "eigenvalue", "variance_share", "frequency", "orientation"]
    wanted += ["coherence", "chromatic_share", "symmetry"]
    return frame[[name for name in wanted if name in frame]]


def components(result: xr.Dataset, *, ax: Axes | None = None, dataset: str | None = None) -> Axes:
    """Draw the principal components of the patches as small images with their names.

    A name has the number of the component, its mean spatial frequency in cycles per pixel, the
    orientation of its stripes if it is clear, and ``gray`` or ``color``. Each image has a scale of
    its own, with 0 as medium gray. At most 60 components are drawn.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters
    ax : matplotlib axes to draw in; a new figure by default
    dataset : label of the data set; by default the first one

    Returns
    -------
    matplotlib.axes.Axes
        Its ``child_axes`` are the images.

    Raises
    ------
    UsageError
        If the result has no components or no such data set, or matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 3, 3)}, torch.rand(20, 1, 8, 8))
    >>> len(rs.plot.components(result).child_axes)
    9
    """
    table = components_table(result)
    name = choose_dataset(table, dataset)
    table = table[table.dataset == name]
    images = component_images(result, name)
    shown = table[:MAX_COMPONENTS]
    rows = -(-len(shown) // COLUMNS)
    ax = axes_or_new(ax, (1.05 * COLUMNS, 1.25 * rows + 0.5))
    places = panels(ax, len(shown), COLUMNS, gaps=(0.25, 0.55))
    for place, label, number in zip(places, component_names(shown), shown.component, strict=True):
        patch = images[int(number)]
        place.imshow(image_of(patch, float(np.abs(patch).max())), interpolation="nearest")
        place.set(xticks=[], yticks=[])
        place.set_title(label.replace(": ", "\n", 1), fontsize=7, pad=2)
    left = f", the first {len(shown)} of {len(table)}" if len(shown) < len(table) else ""
    set_title(ax, f"components of {name}{left}", pad=28)
    return ax


def choose_dataset(table: pd.DataFrame, dataset: str | None) -> str:
    """Return the label of the data set to draw, the first one by default."""
    known = list(dict.fromkeys(map(str, table.dataset)))
    if dataset is not None and dataset not in known:
        raise unknown_name("data set", dataset, known)
    return known[0] if dataset is None else dataset


def spectrum(result: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues, the variance of the patches along each component.

    Components whose energy is mostly color have open markers, the others filled ones.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters
    ax : matplotlib axes to draw in; a new figure by default

    Returns
    -------
    matplotlib.axes.Axes
        One line for each data set.

    Raises
    ------
    UsageError
        If the result has no eigenvalues, or matplotlib is not installed.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 3, 3)}, torch.rand(20, 1, 8, 8))
    >>> rs.plot.spectrum(result).get_yscale()
    'log'
    """
    table = components_table(result)
    ax = axes_or_new(ax, (6.4, 3.8))
    lines, labels = [], []
    for number, (name, rows) in enumerate(table.groupby("dataset", sort=False)):
        style = line_style(number)
        marker = style.pop("marker")
        lines += ax.plot(rows.component, rows.eigenvalue, linewidth=1.2, marker=marker, **style)
        color = rows[rows.chromatic_share > 0.5]
        ax.plot(
            color.component,
            color.eigenvalue,
            marker,
            markerfacecolor="white",
            markeredgecolor=style["color"],
        )
        labels.append(str(name))
    if (table.chromatic_share > 0.5).any():
        lines += ax.plot([], [], "o", markerfacecolor="white", markeredgecolor="black")
        labels.append("mostly color")
    ax.set(yscale="log", xlabel="component", ylabel="variance (pixel value squared)")
    add_legend(ax, lines, labels, inside=True)
    return ax
