"""Course of training: energy along each component, and accuracy on the test images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from repsim_energy.errors import UsageError
from repsim_energy.plot.frames import frame_of, left_out, names_of
from repsim_energy.plot.labels import label_of, short_labels
from repsim_energy.plot.layout import (
    PANEL_POINTS,
    axes_or_new,
    characters_in,
    inches_of,
    panels,
    points,
    set_title,
)
from repsim_energy.plot.runs import stored_runs
from repsim_energy.plot.style import palette
from repsim_energy.results.attributes import attribute_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["trajectory", "trajectory_table"]

MAX_COLUMNS = 4
"""Panels in a row of a new figure."""

GAP_INCHES = (0.5, 0.28)
"""Inches between the columns and above the rows of panels."""

KEYS = ["dataset", "model", "seed", "step"]


def trajectory_table(result: xr.Dataset) -> pd.DataFrame:
    """Return the course of training, one number a row.

    ``quantity`` is ``energy`` (with its ``component``), ``test_loss`` or ``test_accuracy``. The
    latter two are those of evaluations during training (``recipe=...:evaluations=``), read from the
    run cache if the runs are in it.
    """
    energy = frame_of(result, "snapshot_energy")
    steps = frame_of(result, "snapshot_step")
    on = ["dataset", "model", "seed", "snapshot"]
    energy = energy.merge(steps[[*on, "snapshot_step"]], on=on)
    energy = energy.rename(columns={"snapshot_step": "step", "snapshot_energy": "value"})
    frames = [energy.assign(quantity="energy")[[*KEYS, "quantity", "component", "value"]]]
    for network in stored_runs(result):
        if network.run is None or len(network.run.history.evaluation_steps) == 0:
            continue
        history = network.run.history
        measured = history.evaluations.double().numpy()
        for column, quantity in enumerate(("test_loss", "test_accuracy")):
            rows = {
                "dataset": network.dataset,
                "model": network.model,
                "seed": network.seed,
                "step": history.evaluation_steps.numpy(),
                "quantity": quantity,
                "component": np.nan,
                "value": measured[:, column],
            }
            frames.append(pd.DataFrame(rows))
    return pd.concat(frames, ignore_index=True)


def trajectory(result: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the energy along each component during training, a panel for each model.

    A line is a component, the mean over seeds at the snapshots of the training, from dark (most
    variance) to light (least). Energies are those of the stage that was compared. Where the
    training was evaluated, and its run is in the cache of this machine, a line with crosses is the
    accuracy on the test images, on the right axis.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare` with a metric on filters and networks that it
        trained
    ax : matplotlib axes to draw in; a new figure by default

    Returns
    -------
    matplotlib.axes.Axes
        Its ``child_axes`` are the panels.

    Raises
    ------
    UsageError
        If the result has no snapshots, or matplotlib is not installed.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> recipe = rs.Recipe(steps=4, batch=10, snapshots=3)
    >>> result = rs.compare("linear_cnn:filters=4", "deadleaves:count=60", recipe=recipe, seeds=1)
    >>> panel = rs.plot.trajectory(result).child_axes[0]
    >>> [int(step) for step in panel.lines[0].get_xdata()]
    [0, 1, 2, 4]
    """
    table = trajectory_table(result)
    table = table.assign(name=names_of(table))
    energy = table[(table.quantity == "energy") & table.value.notna()]
    if not len(energy):
        raise UsageError(
            "the result has no snapshots of a training, expected networks that were trained with "
            "snapshots (recipe=quick:snapshots=12)"
        )
    curves = list(energy.groupby("name", sort=False))
    accuracy = table[table.quantity == "test_accuracy"]
    columns, rows = min(MAX_COLUMNS, len(curves)), -(-len(curves) // MAX_COLUMNS)
    ax = axes_or_new(ax, (2.8 * columns + 2.2, 2.1 * rows + 1.1))
    made = panels(ax, len(curves), MAX_COLUMNS, gaps=GAP_INCHES, shape=1.3)
    size = points(ax, PANEL_POINTS)
    wide = inches_of(made.places[0])[0]
    characters = characters_in(0.8 * wide + 0.25, size)  # the bar makes panels narrower
    labels = short_labels([str(name) for name, _ in curves], characters)
    last = int(energy.step.max())
    for number, (place, (name, one)) in enumerate(zip(made.places, curves, strict=True)):
        _draw_energy(place, one, last, ticks=max(1, int(wide / 0.3)))
        place.tick_params(labelsize=points(ax, 7))
        if len(accuracy):
            of_model = accuracy[accuracy.name == name]
            right = _draw_accuracy(place, of_model, size, labeled=made.is_right(number))
            if made.is_right(number) and made.in_labeled_row(number):
                right.set_ylabel("test accuracy", fontsize=size, color=palette()[1])
        place.set_title(label_of(labels[number]), fontsize=size, pad=3, y=1.0)
        if made.is_left(number) and made.in_labeled_row(number):
            place.set_ylabel("energy (weight units)", fontsize=size)
        if made.is_bottom(number):
            place.set_xlabel("gradient step", fontsize=size)
        else:
            place.tick_params(labelbottom=False)
    _add_bar(ax, energy, size, rows)
    stage = attribute_of(result, "stage", "")
    set_title(ax, f"energy during training, stage {stage}{left_out(result, energy.model)}")
    return ax


def _draw_energy(place: Axes, rows: pd.DataFrame, last: int, ticks: int) -> None:
    """Draw the mean over seeds of the energy along each component, up to a last step."""
    import matplotlib

    colors = matplotlib.colormaps["viridis"]
    largest = max(1, int(rows.component.max()))
    means = rows.groupby(["component", "step"]).value.mean().unstack("step")
    for component, values in means.iterrows():
        color = colors(0.95 * float(component) / largest)
        place.plot(values.index, values, color=color, linewidth=1)
    if last > 0:
        place.set_xscale("symlog", linthresh=1)  # snapshots are spaced by factors, from step 0
        place.set_xlim(0, last * 1.1)
        powers = 10 ** np.arange(int(np.log10(last)), -1, -1)
        place.set_xticks([0, *powers[:: -(-len(powers) // ticks)]])
    place.set_ylim(bottom=0)


def _draw_accuracy(place: Axes, rows: pd.DataFrame, size: float, *, labeled: bool) -> Axes:
    """Draw the mean accuracy on the test images on an axis of its own on the right."""
    color = palette()[1]
    right = place.inset_axes((0, 0, 1, 1), sharex=place, facecolor="none")
    means = rows.groupby("step").value.mean()
    right.plot(means.index, means, color=color, linewidth=1.2, marker="x", markersize=4)
    right.set_ylim(0, 1)
    if not labeled:
        right.set_axis_off()
        right.set_in_layout(False)
        return right
    right.yaxis.tick_right()
    right.yaxis.set_label_position("right")
    right.xaxis.set_visible(False)
    right.tick_params(labelsize=size, colors=color)
    return right


def _add_bar(ax: Axes, rows: pd.DataFrame, size: float, panels_below: int) -> None:
    """Draw the bar with the colors of the components."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    largest = max(1, int(rows.component.max()))
    scale = ScalarMappable(Normalize(0, largest / 0.95), "viridis")
    figure: Any = ax.figure
    bar = figure.colorbar(scale, ax=ax, shrink=0.8, pad=0.09, aspect=20 * panels_below)
    bar.set_label("component", fontsize=size)
    bar.ax.tick_params(labelsize=size)
