"""Images of units as a result, with what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.results import Variable, assemble
from repsim_energy.visualization.canvas import Canvas
from repsim_energy.visualization.network import Layer

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Found", "result_of"]

Found = dict[str, NDArray[np.float32]]
"""Variable of a result -> its values for each unit."""

CONFIGURATION = (
    *("layer", "seed", "position", "parametrization", "steps", "jitter", "total_variation"),
    *("norm", "start"),
)
"""Arguments that a result records."""


def result_of(
    plan: Plan,
    layer: Layer,
    units: Sequence[int],
    found: Found,
    canvas: Canvas,
    arguments: Mapping[str, Any],
    command: str,
) -> xr.Dataset:
    """Return images and activations with their units and what was asked for.

    Parameters
    ----------
    arguments : of :func:`~repsim_energy.maximize_activation`, by name
    command : its call as Python code
    """
    spec, data = plan.models[0], plan.datasets[0]
    sizes = dict(zip(("channel", "row", "column"), data.image_shape, strict=True))
    variables = {
        "image": Variable(
            ("unit", *sizes), found["image"], "image that activates the unit most", "pixels"
        ),
        "activation": Variable(("unit",), found["activation"], "activation for that image"),
        "image_activation": Variable(
            ("unit",), found["image_activation"], "largest activation for a training image"
        ),
    }
    coords: dict[str, Sequence[Any] | Variable] = {
        "unit": list(units),
        **{name: list(range(size)) for name, size in sizes.items()},
        "end": ["low", "high"],
        "pixel_range": Variable(
            ("end",), [canvas.low, canvas.high], "range of the pixels", "pixels"
        ),
    }
    attributes = {
        "model": spec.label,
        "dataset": data.label,
        "layer": layer.label,
        "position": str(arguments["position"]) if layer.has_positions else "",
        "norm": "" if arguments["norm"] is None else f"{float(arguments['norm']):g}",
        "network": plan.label(Key(0, 0, 0)),
        "command": command,
    }
    configuration = {name: arguments[name] for name in CONFIGURATION}
    configuration |= {"model": spec.identity, "recipe": plan.recipe.as_options()}
    origins = [*spec.origins, *data.origins]
    return assemble(variables, coords, configuration, attributes, *origins)
