"""Filters of the first layer as grids of small images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.plot.frames import left_out
from repsim_energy.plot.labels import columns_of, label_of, short_labels
from repsim_energy.plot.layout import (
    axes_or_new,
    characters_in,
    inches_of,
    panels,
    points,
    set_title,
)
from repsim_energy.plot.runs import StoredRun, stored_runs
from repsim_energy.plot.style import image_of
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["filters", "filters_table", "grid_of"]

STAGES = ("init", "trained", "change")

MAX_COLUMNS = 5
"""Panels in a row of a new figure."""


def filters_table(result: xr.Dataset, stage: str | None = None) -> pd.DataFrame:
    """Return the weights of all stored filters, one weight a row."""
    chosen = _stage(result, stage)
    frames = []
    for run, bank in _banks(result, chosen):
        index = pd.MultiIndex.from_product(
            [range(n) for n in bank.shape], names=["filter", "c", "kh", "kw"]
        )
        frame = pd.DataFrame({"weight": bank.ravel()}, index=index).reset_index()
        for place, name in enumerate(("dataset", "model", "seed")):
            frame.insert(place, name, run[place])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def filters(
    result: xr.Dataset,
    *,
    ax: Axes | None = None,
    stage: str | None = None,
    seed: int | None = None,
) -> Axes:
    """Draw the filters of the first layers as grids of images, all on one scale.

    A result does not store filters. They are read from the run cache of this machine, where
    ``run_id`` of the result names them. 0 is medium gray; black and white are the largest absolute
    weight of all networks. Filters of other than three channels are drawn in gray, by their first
    channel. The title counts models whose runs are not in the cache.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with networks that were trained by this package
    ax : matplotlib axes to draw in; a new figure by default
    stage : ``init``, ``trained`` or ``change``; by default the stage that was compared
    seed : of the networks to draw; by default the first seed of each model

    Returns
    -------
    matplotlib.axes.Axes
        Its ``child_axes`` are the grids, one for each model and data set.

    Raises
    ------
    UsageError
        If no run of the result is in the cache, for an unknown stage or seed, or if matplotlib is
        not installed.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> recipe = rs.Recipe(steps=1, batch=10)
    >>> result = rs.compare("linear_cnn:filters=4", "deadleaves:count=60", recipe=recipe, seeds=1)
    >>> len(rs.plot.filters(result).child_axes)
    1
    """
    chosen = _stage(result, stage)
    banks = _banks(result, chosen)
    seeds = [run.seed for run, _ in banks]
    if seed is not None and seed not in seeds:
        raise unknown_name("seed", str(seed), map(str, dict.fromkeys(seeds)))
    drawn: dict[tuple[str, str], tuple[StoredRun, NDArray[np.float64]]] = {}
    for run, bank in banks:
        if seed is None or run.seed == seed:
            drawn.setdefault((run.dataset, run.model), (run, bank))
    limit = max(float(np.abs(bank).max()) for _, bank in drawn.values())
    several = len({dataset for dataset, _ in drawn}) > 1
    rows = -(-len(drawn) // MAX_COLUMNS)
    ax = axes_or_new(ax, (2.2 * min(MAX_COLUMNS, len(drawn)) + 0.6, 2.3 * rows + 0.5))
    names = [f"{run.model} on {run.dataset}" if several else run.model for run, _ in drawn.values()]
    size = points(ax, 8)
    room = characters_in(inches_of(ax)[0] / min(MAX_COLUMNS, len(drawn)), size) - len(" seed 0")
    one_line = room >= max(map(columns_of, short_labels(names)))
    places = panels(ax, len(drawn), MAX_COLUMNS, gaps=(0.2, 0.25 if one_line else 0.36)).places
    if not one_line:
        room = characters_in(inches_of(places[0])[0] + 0.1, size)
    labels = [label_of(label) for label in short_labels(names, room)]
    for place, label, (run, bank) in zip(places, labels, drawn.values(), strict=True):
        place.imshow(grid_of(bank, limit), interpolation="nearest")
        place.set_axis_off()
        place.set_anchor("N")
        place.set_title(
            f"{label}{' ' if one_line else chr(10)}seed {run.seed}", fontsize=size, pad=3, y=1.0
        )
    missing = left_out(result, (model for _, model in drawn))
    set_title(ax, f"filters, stage {chosen}, white = {limit:.2g}{missing}")
    return ax


def grid_of(bank: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return filters as one image (h, w, 3), row by row, with white lines around each.

    Parameters
    ----------
    bank : (k, c, kh, kw); of other than three channels, the first one is drawn in gray
    limit : absolute weight that is drawn as black (negative) or white (positive)
    """
    bank = bank if bank.shape[1] == 3 else bank[:, :1]
    k, _, kh, kw = bank.shape
    across = math.ceil(math.sqrt(k))
    down = -(-k // across)
    grid = np.ones((down * (kh + 1) + 1, across * (kw + 1) + 1, 3))
    for number, patch in enumerate(bank):
        row, column = divmod(number, across)
        y, x = 1 + row * (kh + 1), 1 + column * (kw + 1)
        grid[y : y + kh, x : x + kw] = image_of(patch, limit)
    return grid


def _stage(result: xr.Dataset, stage: str | None) -> str:
    chosen = str(attribute_of(result, "stage", "trained") if stage is None else stage)
    if chosen not in STAGES:
        raise unknown_name("stage", chosen, STAGES)
    return chosen


def _banks(result: xr.Dataset, stage: str) -> Sequence[tuple[StoredRun, NDArray[np.float64]]]:
    """Return each stored network of a result with its filters at a stage."""
    if "run_id" not in getattr(result, "data_vars", ()):
        raise UsageError(
            f"got a {type(result).__name__} without 'run_id', expected a result of compare"
        )
    runs = list(stored_runs(result))
    banks = []
    for network in runs:
        if network.run is not None:
            filters = network.run.filters
            first, last = (filters[name].double().numpy() for name in ("init", "trained"))
            banks.append((network, {"init": first, "trained": last, "change": last - first}[stage]))
    if not banks:
        trained = any(np.atleast_1d(result["run_id"].values).ravel() != "")
        remedy = (
            "draw on the machine that trained them with the same REPSIM_CACHE"
            if trained
            else "those of given networks are in their files"
        )
        raise UsageError(
            f"no filters to draw: {runs[0].missing}; results do not store filters, {remedy}"
        )
    return banks
