"""Coordinates of a result that say which layers and positions were compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repsim_energy.comparison.activations import OUTPUT, entry_of
from repsim_energy.comparison.measured import Coords
from repsim_energy.comparison.plan_layers import Layers
from repsim_energy.comparison.views import Words
from repsim_energy.results import Variable

__all__ = ["layer_coords"]


def layer_coords(layers: Layers, words: Sequence[Words]) -> Coords:
    """Return the options of each model, and the name and positions of each of its layers."""
    shape = (len(words), len(layers.labels))
    names, positions = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    for m, found in enumerate(layers.names):
        for layer, submodule in found.items():
            at = layers.labels.index(layer)
            entry, _ = entry_of(layers.typed[m][layer], submodule)
            names[m, at] = (submodule or OUTPUT) + (f"[{entry}]" if entry else "")
            if (view := layers.view(m, layer)) is not None:
                positions[m, at] = "x".join(map(str, view.positions))
    both = ("model", "layer")
    coords: Coords = {
        "pool": Variable(
            ("model",), [word.pool for word in words], "treatment of the positions of layers", ""
        ),
        "tokens": Variable(
            ("model",),
            [word.tokens for word in words],
            "tokens of transformers that were compared",
            "",
        ),
        "layer_name": Variable(
            both, names, "name of the layer in the network, empty where it has no such layer", ""
        ),
    }
    if (positions != "").any():
        meaning = "positions of the layer's output, such as 32x32; empty where it has none"
        coords["positions"] = Variable(both, positions, meaning, "")
    return coords
