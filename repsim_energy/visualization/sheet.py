"""A sheet of images, one for each unit of a layer, as a figure in a file."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.files.storage import check_writable
from repsim_energy.plot.labels import label_of
from repsim_energy.plot.layout import characters_in
from repsim_energy.plot.style import check_matplotlib, check_suffix, write_figure

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["check_sheet", "draw_sheet", "write_sheet"]

SIDE, GAP, TITLE = 1.0, 0.1, 0.2
"""Inches: the longer side of an image, the space between images, the height of their titles."""

MIN_INCHES = 4.5
"""Width of a sheet, which its heading needs."""

HEADING_POINTS, TITLE_POINTS = 8, 7
"""Sizes of texts."""

DPI = 150
"""Dots per inch of a sheet in pixels."""

SILENT = 0.9
"""Gray in the place of an image that does not exist."""


def check_sheet(path: str | Path) -> None:
    """Check before any work that a sheet can be written.

    Raises
    ------
    UsageError
        For another suffix than svg, png and pdf, a path that cannot be written, and without
        matplotlib.
    """
    check_suffix(Path(path))
    check_matplotlib()
    check_writable(Path(path))


def write_sheet(result: xr.Dataset, path: str | Path) -> None:
    """Draw the images of a result and write them to a file. Equal images give equal files."""
    write_figure(draw_sheet(result), Path(path), dpi=DPI)


def draw_sheet(result: xr.Dataset) -> Figure:
    """Return a figure with the image of each unit below its number and activation.

    Images of three channels are drawn in color, of others the channel that varies most is drawn in
    gray. Images of a given norm are scaled, each so that its largest difference to medium gray
    reaches an end of the range of pixels.
    """
    from matplotlib.figure import Figure

    count, (h, w) = result.sizes["unit"], result.image.shape[2:]
    wide, high = SIDE * w / max(h, w), SIDE * h / max(h, w)
    across, down = wide + GAP, high + TITLE + GAP
    columns = min(count, max(round(math.sqrt(count * down / across)), int(MIN_INCHES / across)))
    rows = -(-count // columns)
    width = max(columns * across + GAP, MIN_INCHES)
    heading = _heading(result, width - GAP)
    head = GAP + (heading.count("\n") + 1) * 1.6 * HEADING_POINTS / 72
    height = head + rows * down
    figure = Figure(figsize=(width, height))
    figure.suppressComposite = True  # one image would have the resolution of the page
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    ax.text(GAP, height - GAP / 2, heading, fontsize=HEADING_POINTS, va="top", linespacing=1.3)
    for number in range(count):
        row, column = divmod(number, columns)
        left, top = GAP + column * across, height - head - row * down
        _draw_unit(ax, result.isel(unit=number), (left, top, wide, high))
    return figure


def _heading(result: xr.Dataset, inches: float) -> str:
    """Return the title of a sheet, in lines of a width."""
    about = result.attrs
    where = {"center": " at the center", "mean": " in the mean over positions"}
    position = where.get(about["position"], "")
    norm = f" (norm {about['norm']}, contrast scaled)" if about["norm"] else ""
    texts = (
        f"{about['network']}, {about['dataset']}",
        f"layer {about['layer']}: images that activate units most{position}{norm}",
    )
    characters = characters_in(inches, HEADING_POINTS)
    lines = [line for text in texts for line in textwrap.wrap(text, characters)]
    return "\n".join(map(label_of, lines))


def _draw_unit(ax: Axes, unit: xr.Dataset, place: tuple[float, float, float, float]) -> None:
    """Draw one image and its title.

    Parameters
    ----------
    place : left edge, upper edge of the title, width and height of the image in inches
    """
    left, top, wide, high = place
    bottom = top - TITLE - high
    activation = float(unit.activation)
    silent = math.isnan(activation)
    ax.text(
        left,
        top - TITLE + 0.04,
        f"{int(unit.unit)}: {'silent' if silent else f'{activation:.3g}'}",
        fontsize=TITLE_POINTS,
    )
    pixels = np.full((1, 1, 3), SILENT) if silent else _picture(unit)
    ax.imshow(
        pixels,
        extent=(left, left + wide, bottom, bottom + high),
        interpolation="nearest",
        aspect="auto",
    )


def _picture(unit: xr.Dataset) -> NDArray[np.float64]:
    """Return the image of a unit as (h, w, 3) between 0 and 1."""
    low, high = unit.pixel_range.values.tolist()
    values = (unit.image.values.astype(np.float64) - low) / (high - low) - 0.5
    if len(values) != 3:
        strongest = int(values.var((1, 2)).argmax())
        values = np.repeat(values[strongest : strongest + 1], 3, axis=0)
    if unit.attrs["norm"]:
        values = values / (2 * max(float(np.abs(values).max()), np.finfo(np.float64).tiny))
    picture: NDArray[np.float64] = np.clip(values + 0.5, 0, 1).transpose(1, 2, 0)
    return picture
