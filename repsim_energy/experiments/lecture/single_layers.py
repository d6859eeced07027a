"""Models of which a single layer is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.models.filters.first_layer import layers_with_weights, named_layer
from repsim_energy.options import call_builder

if TYPE_CHECKING:
    from torch import nn

    from repsim_energy.interfaces import ImageSet, ModelSpec

__all__ = ["layer_names", "train_only"]


def layer_names(network: nn.Module) -> list[str]:
    """Return the names of the layers with weights, as the network registers them.

    These are convolutions and linear layers, the classifier included. Norms are no layers of their
    own.
    """
    return list(layers_with_weights(network))


def train_only(spec: ModelSpec, layer: str) -> ModelSpec:
    """Return an architecture of which one layer is trained, its weights and biases.

    All other parameters stay as initialized, those of norms too. A batch norm still normalizes by
    each batch in training, and by its running statistics in evaluation. The initial weights from a
    seed are those of the architecture itself, and runs are cached under a key of their own.

    Parameters
    ----------
    spec : of the architecture
    layer : name of a layer, one of :func:`layer_names`

    Raises
    ------
    UsageError
        When the network is built: if it has no such layer, the layer has no parameters, or the
        network is trained already.
    """
    identity = None if spec.identity is None else {**spec.identity, "trained_layer": layer}
    return replace(
        spec,
        label=f"{spec.label} trained in {layer} alone",
        build=_WithOneTrained(spec.label, spec.build, layer),
        identity=identity,
        spec="",
    )


@dataclass(frozen=True)
class _WithOneTrained:
    """Builder of an architecture of which one layer is trained. It can be pickled if that can.

    Parameters
    ----------
    label : of the architecture, for errors
    build : of the architecture
    layer : name of the layer
    """

    label: str
    build: Callable[..., Any]
    layer: str

    def __call__(self, num_classes: int, in_channels: int, images: ImageSet) -> nn.Module:
        """Return a new network."""
        network = call_builder(self.build, num_classes, in_channels, images)
        if isinstance(network, TrainedModel):
            raise UsageError(
                f"model '{self.label}' is trained already, expected an architecture that is "
                "trained here; choose another one"
            )
        _, layer = named_layer(network, self.layer)
        if not list(layer.parameters()):
            raise UsageError(
                f"got layer '{self.layer}' of '{self.label}', which has no parameters, expected "
                f"one to train; choose one of {', '.join(layer_names(network))}"
            )
        network.requires_grad_(False)
        layer.requires_grad_(True)
        module: nn.Module = network
        return module
