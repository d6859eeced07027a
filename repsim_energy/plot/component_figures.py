"""Principal components as small images, and the spectrum of their eigenvalues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import unknown_name
from repsim_energy.plot.frames import component_images, component_names, frame_of
from repsim_energy.plot.labels import short_labels
from repsim_energy.plot.layout import (
    add_legend,
    axes_or_new,
    inches_of,
    panels,
    points,
    set_labels,
    set_title,
    text_width,
)
from repsim_energy.plot.style import background, foreground, image_of, line_style
from repsim_energy.results import to_dataframe
from repsim_energy.results.whole import numbers_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["components", "components_table", "spectrum"]

MAX_COMPONENTS = 60
"""Components that are drawn as images; the title counts the others."""

MAX_COLUMNS = 9
"""Images in a row of a new figure."""

GAP_INCHES = (0.25, 0.38)
"""Inches between the columns and above the rows of images."""

DESCRIPTION = ("frequency", "orientation", "coherence", "chromatic_share", "symmetry")
"""Coordinates that describe a component."""


def components_table(result: xr.Dataset) -> pd.DataFrame:
    """Return a row for each component of each data set: eigenvalue, share and description.

    ``name`` is the text above its image, and ``largest_weight`` the absolute weight that is drawn
    as black or white. ``rs.to_dataframe(result, "components")`` has the weights.
    """
    for name in (
        "component",
        "frequency",
        "orientation",
        "coherence",
        "chromatic_share",
        "symmetry",
    ):
        numbers_of(result, name, ["component"])
    frame = frame_of(result, "eigenvalue")
    total = frame.groupby("dataset")["eigenvalue"].transform("sum")
    frame["variance_share"] = frame.eigenvalue / total
    frame["name"] = [name.partition(": ")[2] for name in component_names(frame)]
    if "components" in result and result.components.size:
        stored = numbers_of(result, "components", ["c", "kh", "kw"])
        weights = abs(stored).max(("c", "kh", "kw")).rename("largest_weight")
        largest = to_dataframe(result.assign(largest_weight=weights), "largest_weight")
        keys = ["dataset", "component"]
        frame = frame.merge(largest[[*keys, "largest_weight"]], on=keys, how="left")
    wanted = ["dataset", "component", "eigenvalue", "variance_share", "frequency", "orientation"]
    wanted += ["coherence", "chromatic_share", "symmetry", "name", "largest_weight"]
    return frame[[name for name in wanted if name in frame]]


def components(result: xr.Dataset, *, ax: Axes | None = None, dataset: str | None = None) -> Axes:
    """Draw the principal components of the patches as small images with their names.

    A name has the number of the component, its mean spatial frequency in cycles per pixel, the
    orientation of its stripes if it is clear, and ``gray`` or ``color``. Each image has a scale of
    its own, with 0 as medium gray. At most 60 components are drawn. If the names do not fit, the
    images have the numbers only.

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
    rows = -(-len(shown) // MAX_COLUMNS)
    ax = axes_or_new(ax, (1.05 * MAX_COLUMNS, 1.2 * rows + 0.4))
    places = panels(ax, len(shown), MAX_COLUMNS, gaps=GAP_INCHES).places
    size = points(ax, 7)
    named = text_width(list(shown.name), size) <= inches_of(places[0])[0] + GAP_INCHES[0]
    for place, row in zip(places, shown.itertuples(), strict=True):
        image = image_of(images[int(row.component)], float(row.largest_weight))
        place.imshow(image, interpolation="nearest")
        place.set(xticks=[], yticks=[])
        title = f"{row.component}\n{row.name}" if named else str(row.component)
        place.set_title(title, fontsize=size, pad=2, y=1.0)
    left = f", the first {len(shown)} of {len(table)}" if len(shown) < len(table) else ""
    set_title(ax, f"components of {short_labels([name])[0]}{left}")
    return ax


def choose_dataset(table: pd.DataFrame, dataset: str | None) -> str:
    """Return the label of the data set to draw, the first one by default."""
    known = list(dict.fromkeys(map(str, table.dataset)))
    if dataset is not None and dataset not in known:
        raise unknown_name("data set", dataset, known)
    return known[0] if dataset is None else dataset


def spectrum(result: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues, the variance of the patches along each component.

    Components whose energy is mostly color have open markers, the others filled ones. The axis ends
    at powers of ten.

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
    lines, labels, size = [], [], points(ax, 6)
    for number, (name, rows) in enumerate(table.groupby("dataset", sort=False)):
        style = line_style(number)
        marker = style.pop("marker")
        lines += ax.plot(
            rows.component, rows.eigenvalue, linewidth=1.2, marker=marker, markersize=size, **style
        )
        color = rows[rows.chromatic_share > 0.5]
        ax.plot(
            color.component,
            color.eigenvalue,
            marker,
            markersize=size,
            markerfacecolor=background(),
            markeredgecolor=style["color"],
        )
        labels.append(str(name))
    labels = short_labels(labels)
    if (table.chromatic_share > 0.5).any():
        lines += ax.plot(
            [],
            [],
            "o",
            markersize=size,
            markerfacecolor=background(),
            markeredgecolor=foreground(),
        )
        labels.append("mostly color")
    set_labels(ax, "component", "variance (pixel value squared)")
    ax.set_yscale("log")
    ax.set_ylim(*_decades(table.eigenvalue))
    pad = add_legend(ax, lines, labels, where="inside")
    set_title(ax, "variance of the patches along their components", pad=pad)
    return ax


def _decades(values: pd.Series) -> tuple[float, float]:
    """Return the powers of ten around values, so that small differences look small."""
    exponents = np.log10(values[values > 0])
    low, high = np.floor(exponents.min()), np.ceil(exponents.max())
    return float(10**low), float(10 ** max(high, low + 1))
