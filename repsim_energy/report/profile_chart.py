"""Chart of energy profiles with switches for lines and details of each component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.report.component_images import component_image
from repsim_energy.results import component_coords
from repsim_energy.results.attributes import attribute_of

__all__ = ["Chart", "Line", "charts_of"]

WIDTH, HEIGHT = 900, 280
"""Size of the drawing in its own units, without margins."""

MAX_COMPONENTS = 512
"""Components that a page shows. The result file has all."""

DIGITS = 7
"""Significant digits of the energies on the page, which are those of float32."""


@dataclass(frozen=True)
class Line:
    """The energy profile of one network.

    Parameters
    ----------
    model, seed : indices of the network; seed -1 for a given network, which has none
    points : corners of the line in the drawing
    """

    model: int
    seed: int
    points: str


@dataclass(frozen=True)
class Chart:
    """Energy profiles on one data set, each divided by its largest energy.

    Parameters
    ----------
    dataset : label
    lines : one for each network
    images : address of the image of each component; empty for one without variance
    labels : numbers of the components
    ticks : number and horizontal place of the components named on the axis
    step : width of a component in the drawing
    left_out : number of components that are not shown
    meanings : name and meaning of each number that describes a component
    data : numbers of the panel, for JSON
    """

    dataset: str
    lines: Sequence[Line]
    images: Sequence[str]
    labels: Sequence[int]
    ticks: Sequence[tuple[int, float]]
    step: float
    left_out: int
    meanings: Sequence[tuple[str, str]]
    data: dict[str, Any] = field(repr=False)

    @property
    def width(self) -> int:
        """Width of the drawing."""
        return WIDTH

    @property
    def height(self) -> int:
        """Height of the drawing."""
        return HEIGHT


def charts_of(result: xr.Dataset) -> list[Chart]:
    """Return a chart for each data set. Metrics on activations have none."""
    if "energy" not in result or not attribute_of(result, "stage", ""):
        return []
    return [_chart(result.isel(dataset=d)) for d in range(result.sizes["dataset"])]


def _chart(result: xr.Dataset) -> Chart:
    count = min(result.sizes["component"], MAX_COMPONENTS)
    shown = result.isel(component=slice(count))
    energy = shown.energy.sel(stage=attribute_of(result, "stage"))
    energies = energy.transpose("model", "seed", "component").values
    images = [
        component_image(component)
        for component in shown.components.transpose("component", "c", "kh", "kw").values
    ]
    step = WIDTH / count
    given = [bool(g) for g in result.given.values] if "given" in result else [False] * len(energies)
    labels = [int(label) for label in shown.component.values]
    looks = _looks(shown.components)
    lines = [
        Line(m, -1 if given[m] else s, _points(profile, step))
        for m, profiles in enumerate(energies)
        for s, profile in enumerate(profiles)
        if np.isfinite(profile).any()
    ]
    return Chart(
        dataset=str(result.dataset.item()),
        lines=lines,
        images=images,
        labels=labels,
        ticks=[(labels[i], (i + 0.5) * step) for i in range(0, count, _between(count))],
        step=step,
        left_out=result.sizes["component"] - count,
        meanings=[(name, meaning) for name, meaning, _ in looks],
        data={
            "dataset": str(result.dataset.item()),
            "components": labels,
            "eigenvalue": rounded(shown.eigenvalue.values),
            "energy": [[rounded(profile) for profile in profiles] for profiles in energies],
            "given": given,
            "looks": [[name, texts] for name, _, texts in looks],
        },
    )


def _looks(components: xr.DataArray) -> list[tuple[str, str, list[str]]]:
    """Return name, meaning and texts of each number that describes (component, c, kh, kw)."""
    coords = component_coords(components.transpose("component", "c", "kh", "kw").values[None])
    return [
        (
            name.replace("_", " "),
            variable.long_name,
            [_with_unit(value, variable.units) for value in variable.values[0]],
        )
        for name, variable in coords.items()
        if np.isfinite(variable.values).any()
    ]


def _with_unit(value: float, unit: str) -> str:
    if np.isnan(value):
        return "undefined"
    if unit == "degrees":
        return f"{value:.0f}°"
    return f"{value:.3f}".replace("-", "−") + ("" if unit == "1" else f" {unit}")


def _points(profile: NDArray[np.float64], step: float) -> str:
    """Return the corners of a profile that is divided by its largest value."""
    largest = float(np.nanmax(profile)) or 1.0
    return " ".join(
        f"{(i + 0.5) * step:.1f},{HEIGHT * (1 - value / largest):.1f}"
        for i, value in enumerate(profile.tolist())
        if np.isfinite(value)
    )


def _between(count: int) -> int:
    """Return the distance between the components that are named on the axis, at most 15 of them."""
    return next(n for n in (1, 2, 5, 10, 20, 50, 100) if count <= 15 * n)


def rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers with seven significant digits, ``None`` for NaN.

    Examples
    --------
    >>> rounded(np.array([0.123456789, np.nan]))
    [0.1234568, None]
    """
    return [
        float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()
    ]
