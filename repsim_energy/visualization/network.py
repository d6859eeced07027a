"""The network whose units are visualized: trained by its name, given, or filters alone."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import layer_names, looking_on, observe
from repsim_energy.comparison.layers import naming
from repsim_energy.comparison.networks import train_networks
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.partial_forward import run_eagerly
from repsim_energy.progress import Reporter
from repsim_energy.training.isolation import float32_by_default
from repsim_energy.visualization.target import Target, check_axis, unit_axis

__all__ = ["Layer", "find_layer", "open_network"]

THE_NETWORK = Key(0, 0, 0)

ONLY = "filters"
"""Name of the layer in the network of filters alone."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the network, examined before the network is trained.

    Parameters
    ----------
    label : as the user names it
    name : of the submodule, ``""`` for the network itself
    axis : of its output that counts the units
    units : number of units
    has_positions : whether a unit has activations at several positions
    """

    label: str
    name: str
    axis: int
    units: int
    has_positions: bool = False


def find_layer(plan: Plan, layer: str, axis: int | None) -> Layer:
    """Find a layer and run the network on two images.

    Parameters
    ----------
    axis : of the layer's output that counts the units; ``None`` to find it

    Raises
    ------
    UsageError
        For a layer that the network does not have, several layers, a layer that is not used
        exactly once or returns no tensor, and units on an axis that is not known.
    RepsimError
        If the network fails on the images.
    """
    if not isinstance(layer, str) or not layer:
        raise UsageError(f"got layer={layer!r}, expected a name such as first or features.0")
    given, data, first = plan.trained.get((0, 0)), plan.datasets[0], plan.layers.get((0, 0))
    module = plan.untrained(plan.trainings[THE_NETWORK]) if given is None else given.module
    with naming(plan.models[0].label):
        names = layer_names(module, [layer], first)
        if len(names) != 1:
            raise UsageError(
                f"layer '{layer}' stands for {len(names)} layers ({', '.join(names) or 'none'}), "
                "expected one; visualize them one by one"
            )
        (label, name), answer = next(iter(names.items())), "" if given is None else given.answer
        if _is_bank(plan):
            if name not in ("", first):
                raise UsageError(f"got layer={layer}, but it is the filters of '{first}' alone")
            module, name = _as_network(plan, module), ONLY
        shape = _output_shape(module, {label: name}, data.train.images[:2], plan.device, answer)
        if axis is None:
            axis = unit_axis(module.get_submodule(name), shape, data.image_shape[1:], label)
        check_axis(axis, shape, label)
    return Layer(label, name, axis, (*shape, 1)[axis], len(shape) > 2)


def _is_bank(plan: Plan) -> bool:
    """Return whether the model is filters alone, without a network that applies them."""
    given = plan.trained.get((0, 0))
    return given is not None and not given.network


def _as_network(plan: Plan, module: nn.Module) -> nn.Module:
    """Return the network to run: the given one, or that of the one layer of filters alone."""
    if not _is_bank(plan):
        return module
    return nn.Sequential(OrderedDict({ONLY: module.get_submodule(plan.layers[0, 0])}))


def _output_shape(
    module: nn.Module,
    names: Mapping[str, str],
    images: Tensor,
    device: torch.device,
    answer: str,
) -> tuple[int, ...]:
    """Return the shape of a layer's output for some images."""
    shapes: list[tuple[int, ...]] = []
    channels = int(images.shape[1])
    as_they_are = Normalization((0.0,) * channels, (1.0,) * channels)

    def receive(_: str, output: Tensor) -> None:
        shapes.append(tuple(output.shape))

    try:
        observe(module, names, images, 2, as_they_are, device, receive, through=True, answer=answer)
    except UsageError as error:  # whose remedy names the parameter of compare
        raise type(error)(str(error).replace("layers=", "layer=")) from error
    return shapes[0]


@contextlib.contextmanager
def open_network(plan: Plan, layer: Layer, position: str, reporter: Reporter) -> Iterator[Target]:
    """Train the network, or read it from the cache, and provide the layer as a target.

    Afterwards the network is as it was before: weights, mode, hooks, gradients and device.

    Raises
    ------
    TrainingError
        If the training fails.
    UsageError, RepsimError
        If the network fails inside the context, with its name.
    """
    networks, _ = train_networks(plan, reporter=reporter)
    network = networks[THE_NETWORK]
    module = _as_network(plan, network.module())
    ours = network.run is not None  # built and trained where float32 was the default
    with (
        naming(plan.models[0].label),
        float32_by_default() if ours else contextlib.nullcontext(),
        preserve_state(module),
        looking_on(module, plan.device),
        run_eagerly(module),
    ):
        yield Target(
            module,
            layer.label,
            layer.name,
            network.answer,
            network.normalization,
            layer.axis,
            position,
        )
