"""Images and names of principal components under the axis of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.plot.frames import component_images, component_names
from repsim_energy.plot.layout import inches_of
from repsim_energy.plot.style import image_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["draw_strip", "has_one_basis"]

MAX_IMAGES = 30
"""Images under the axis. Of more components, each second one has an image, or each third one."""

MIN_IMAGE_INCHES = 0.14
"""Smallest width of an image with a number below it."""


def has_one_basis(result: xr.Dataset, table: pd.DataFrame) -> bool:
    """Return whether all curves have the same components, and the result has their images."""
    bases = set(np.atleast_1d(result["basis_id"].values)) if "basis_id" in result else set()
    return "components" in result and (len(bases) == 1 or table.dataset.nunique() == 1)


def draw_strip(
    ax: Axes, result: xr.Dataset, table: pd.DataFrame, *, named: bool, size: float
) -> None:
    """Draw images of the components under the axis of their curves.

    If there is no room for all, each second one is drawn, or each third one and so on, and wider.

    Parameters
    ----------
    table : rows of the curves, with the description of each component
    named : whether to write the names below the images, instead of the numbers
    size : of the texts in points
    """
    shared = table.drop_duplicates("component").sort_values("component")
    images = component_images(result, str(table.dataset.iloc[0]))
    wide, _ = inches_of(ax)
    room = int(wide / (1.25 * size / 72 if named else MIN_IMAGE_INCHES))
    step = -(-len(shared) // max(1, min(MAX_IMAGES, room)))
    drawn = shared[::step]
    first, last = ax.set_xlim(
        shared.component.min() - 0.5 * step - 0.1, shared.component.max() + 0.5 * step + 0.1
    )
    height = 1.5 * step * wide / (last - first)  # inches, with room for wider axes
    strip = ax.inset_axes((0, -0.06 - height, 1, height), transform=_below(ax), anchor="N")
    half = 0.42 * step
    for number in drawn.component:
        patch = images[int(number)]
        strip.imshow(
            image_of(patch, float(np.abs(patch).max())),
            extent=(number - half, number + half, -half, half),
            interpolation="nearest",
        )
    strip.set(xlim=(first, last), ylim=(-0.5 * step, 0.5 * step), yticks=[])
    if named:
        strip.set_xticks(drawn.component, component_names(drawn), rotation=90, fontsize=size)
        text = "component: cycles per pixel, orientation"
    else:
        strip.set_xticks(drawn.component, [str(n) for n in drawn.component], fontsize=size)
        text = "component"
    strip.spines[:].set_visible(False)
    strip.tick_params(length=0)
    strip.set_xlabel(text, fontsize=1.2 * size)
    ax.set_xticks(drawn.component)
    ax.tick_params(labelbottom=False)


def _below(ax: Axes) -> Any:
    """Return coordinates relative to the width of axes, and in inches above their lower edge."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    figure: Any = ax.figure
    relative: Any = ax.transAxes
    edge = ScaledTranslation(0, 0, relative)
    return blended_transform_factory(ax.transAxes, figure.dpi_scale_trans + edge)
