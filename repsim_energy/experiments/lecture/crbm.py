"""A convolutional deep belief network on natural images: its bases, and what they are like.

Lee, Grosse, Ranganath and Ng (2009), "Convolutional deep belief networks for scalable unsupervised
learning of hierarchical representations", ICML, train two layers on whitened natural images. Their
first layer learns oriented, localized edge filters; the second one contours, corners and angles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.experiments.figures import draw_filters, scale_each
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.numerics.crbm.network import bases, train_network
from repsim_energy.numerics.crbm.train import CrbmOptions
from repsim_energy.numerics.wavelike.measure import wavelike
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.numerics.crbm.train import CrbmTraining

__all__ = ["LAYERS", "run"]

LAYERS = {
    "smoke": (
        CrbmOptions(filters=8, patch=(5, 5), steps=60),
        CrbmOptions(filters=9, patch=(3, 3), steps=20),
    ),
    "cpu": (CrbmOptions(steps=1500), CrbmOptions(filters=36, patch=(3, 3), steps=1000)),
    "full": (CrbmOptions(steps=5000), CrbmOptions(filters=100, patch=(4, 4), steps=3000)),
}
"""Scale -> options of both layers."""


def run(setting: Setting) -> Outcome:
    """Train a network for each seed, measure its layers and draw the bases of the first seed."""
    images = setting.data("natural").train.images
    layers = LAYERS[setting.scale.name]
    networks = [train_network(images, layers, seed=seed) for seed in setting.seeds]
    outcome = Outcome()
    measured = wavelike(np.stack([trained[0].layer.filters.numpy() for trained in networks]))
    count = f"of {layers[0].filters} filters"
    for name, text in {
        "wavelike": "localized and oriented",
        "localized": "localized",
        "oriented": "oriented",
    }.items():
        shares = measured[name].mean(-1)
        outcome.add(f"layer 1: share {text}", shares, over=setting.over, note=count)
    for number, options in enumerate(layers):
        _add(outcome, number, [trained[number] for trained in networks], options)
    outcome.keep("", _result(setting, networks, measured))
    _draw(outcome, networks[0])
    return outcome


def _add(outcome: Outcome, number: int, trained: list[CrbmTraining], options: CrbmOptions) -> None:
    """Add reconstruction error and mean activation of a layer, one value for each seed."""
    over = f"{len(trained)} seeds"
    errors = [one.error for one in trained]
    note = "squared error / square of the visible units"
    outcome.add(f"layer {number + 1}: reconstruction error", errors, over=over, note=note)
    activations = [float(one.activation.mean()) for one in trained]
    low, high = (f(float(f(one.activation)) for one in trained) for f in (min, max))
    outcome.add(
        f"layer {number + 1}: mean activation of hidden units",
        activations,
        over=over,
        note=f"target {options.sparsity}; maps between {low:.3g} and {high:.3g}",
    )


def _result(
    setting: Setting,
    networks: list[list[CrbmTraining]],
    measured: Mapping[str, NDArray[np.float64]],
) -> xr.Dataset:
    variables, dims = {}, ("seed", "filter")
    labels = {
        "spread": "variance of the position, relative to equal weights",
        "coherence": "coherence of the orientation",
        "wavelike": "1 for localized and oriented filters, else 0",
    }
    for name, label in labels.items():
        variables[name] = Variable(dims, measured[name], label)
    coords: dict[str, list[int]] = {"seed": list(setting.seeds)}
    for number, unit in enumerate(("filter", "filter2")):
        each = [[one.layer for one in trained[: number + 1]] for trained in networks]
        drawn = np.stack([bases(layers).numpy() for layers in each])[:, :, 0]
        suffix = str(number + 1)
        variables[f"bases{suffix}"] = Variable(
            ("seed", unit, f"y{suffix}", f"x{suffix}"), drawn, f"bases of layer {suffix}"
        )
        activation = np.stack([trained[number].activation.numpy() for trained in networks])
        label = f"mean activation of hidden units of layer {suffix}"
        variables[f"activation{suffix}"] = Variable(("seed", unit), activation, label)
        errors = [trained[number].error for trained in networks]
        label = f"relative squared error of the reconstruction of layer {suffix}"
        variables[f"error{suffix}"] = Variable(("seed",), errors, label)
        sizes = zip((unit, f"y{suffix}", f"x{suffix}"), drawn.shape[1:], strict=True)
        coords |= {name: list(range(size)) for name, size in sizes}
    return setting.result(variables, coords, "natural")


def _draw(outcome: Outcome, trained: list[CrbmTraining]) -> None:
    """Draw the bases of both layers, each scaled to its own largest absolute value."""
    for number, axes in enumerate(outcome.panels(len(trained))):
        images = bases([one.layer for one in trained[: number + 1]])
        title = f"bases of layer {number + 1}, whitened image"
        draw_filters(axes, scale_each(images), title, limit=1.0)
