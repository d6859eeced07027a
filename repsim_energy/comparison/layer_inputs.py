"""Inputs of layers of a network for images, and the check that layers apply their filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import layout_of, looking_on
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.any_layer import layer_filters, window_of
from repsim_energy.models.filters.partial_forward import run_eagerly
from repsim_energy.numerics.patches.batches import batches_of, check_batch, no_images
from repsim_energy.numerics.patches.seen import patches_of
from repsim_energy.progress import working
from repsim_energy.training.inputs import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["show_images"]

BATCH_IMAGES = 250
"""Images of a forward pass."""

MAX_DEVIATION = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative difference up to which a layer's output is that of its filters; else 0.05."""

OnInput = Callable[[str, Tensor], None]
"""Called with the name of a layer and its input (n, c, h, w) for a batch."""


@torch.no_grad()
def show_images(
    network: nn.Module,
    named: Mapping[str, str],
    images: Tensor | NDArray[Any] | Iterable[Any],
    on_input: OnInput,
    normalization: Normalization | None = None,
    device: torch.device | None = None,
) -> None:
    """Run a network on images in evaluation mode and pass the inputs of layers to a function.

    The first output of each layer is compared with the responses of its filters.

    Parameters
    ----------
    named : label -> name of the submodule
    on_input : called with the input of a layer in every call, as (n, c, h, w). It must copy a
        tensor that it stores
    normalization : of the images; none by default
    device : that computes; by default the one of the network
    """
    parameter = next(network.parameters(), None)
    device = device or (torch.device("cpu") if parameter is None else parameter.device)
    observers = {
        label: _Observer(label, network.get_submodule(name), on_input)
        for label, name in named.items()
    }
    layout, count = None, 0
    with looking_on(network, device) as hooks, run_eagerly(network):
        for observer in observers.values():
            hooks += observer.hooks()
        total = len(images) if isinstance(images, Tensor | np.ndarray) else None
        with working("showing images to the network", total, "images") as advance:
            for batch in batches_of(images):
                check_batch(batch, (1, 1))
                channels = batch.shape[1]
                way = normalization or Normalization((0.0,) * channels, (1.0,) * channels)
                for shown in batch.split(BATCH_IMAGES):
                    if layout is None:
                        layout = layout_of(network, shown[:2].to(device), way)
                        for observer in observers.values():
                            observer.begin()
                    network(as_input(shown.to(device), way, network, layout))
                    count += len(shown)
                    advance(len(shown))
    if not count:
        raise no_images()
    for label, observer in observers.items():
        if not observer.calls:
            raise UsageError(
                f"layer '{label}' is not used by {type(network).__name__}, expected one that "
                "images pass through; name another one with layers="
            )


class _Observer:
    """Hooks on a layer that pass its input on and check its first output."""

    def __init__(self, label: str, layer: nn.Module, on_input: OnInput) -> None:
        self._label = label
        self._layer = layer
        self._on_input = on_input
        self._window = window_of(layer, label)
        self._filters = layer_filters(layer, label)
        self._active = False
        self._input: Tensor | None = None
        self.calls = 0

    def begin(self) -> None:
        """Begin to count calls; those before only find the layout of the images."""
        self._active = True

    def hooks(self) -> list[Any]:
        """Add the hooks and return their handles."""
        return [
            self._layer.register_forward_pre_hook(self._before, with_kwargs=True),
            self._layer.register_forward_hook(self._after),
        ]

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._active:
            return
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor) or not given.is_floating_point():
            raise UsageError(
                f"layer '{self._label}' receives {type(given).__name__}, expected a tensor of real "
                "numbers; name another layer"
            )
        maps = given.detach()
        if isinstance(self._layer, nn.Linear):  # each position of the input is a patch of one pixel
            maps = maps.reshape(-1, maps.shape[-1])[:, :, None, None]
        if self.calls == 0:
            self._input = maps[:1].cpu().double()
        self.calls += 1
        self._on_input(self._label, maps)

    def _after(self, _: nn.Module, __: object, output: Any) -> None:
        """Check that the output is the filters' response to the patches, up to a constant each."""
        if self._input is None:
            return
        maps, self._input = self._input, None
        window, bias = self._window, getattr(self._layer, "bias", None)
        filters = self._filters.double().flatten(1).unflatten(0, (window.groups, -1))
        expected = (filters @ patches_of(maps, window)).flatten(0, 1)
        if isinstance(bias, Tensor):
            expected = expected + bias.detach().cpu().double()[:, None]
        actual = output.detach().cpu().double() if isinstance(output, Tensor) else expected[:0]
        if isinstance(self._layer, nn.Linear):
            actual = actual.reshape(-1, actual.shape[-1])[:1].T
        else:
            actual = actual[:1].flatten(2).flatten(0, 1)
        if actual.shape != expected.shape:
            raise self._refusal("has another number of places than its stride and padding give")
        size = float(torch.maximum(expected.abs().amax(), actual.abs().amax()))
        allowed = MAX_DEVIATION.get(output.dtype, 0.05) * size
        if float((actual - expected).abs().max()) > allowed:
            raise self._refusal("computes something else than the responses of its filters")

    def _refusal(self, problem: str) -> UsageError:
        return UsageError(
            f"layer '{self._label}' ({type(self._layer).__name__}) {problem}, expected a "
            "convolution or linear layer; name another layer"
        )
