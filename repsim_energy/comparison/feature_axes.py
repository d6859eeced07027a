"""Axes of layers' outputs: which one counts the features, and whether there is a class token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import looking_on, observe
from repsim_energy.interfaces import Normalization

__all__ = ["FEATURES_FIRST", "FEATURES_LAST", "Output", "observe_outputs"]

FEATURES_FIRST = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.GroupNorm,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
"""Layers with their features on axis 1."""

FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)
"""Layers with their features on the last axis; not their subclasses, which may turn the axes."""

BATCH_FIRST = (
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.RNN,
    nn.LSTM,
    nn.GRU,
)
"""Layers with their features on the last axis, and samples first where they are told so."""


@dataclass(frozen=True)
class Output:
    """Shape of a layer's output, its axis of features, and its class token.

    Parameters
    ----------
    shape : for one image
    axis : of the output for a batch that counts the features; ``None`` if it is not known
    class_token : whether the first of its tokens began as the same for all images
    """

    shape: tuple[int, ...]
    axis: int | None
    class_token: bool


def observe_outputs(
    module: nn.Module,
    layers: Mapping[str, str],
    image_shape: tuple[int, int, int],
    device: torch.device,
    answer: str = "",
    typed: Mapping[str, str] | None = None,
) -> dict[str, Output]:
    """Return the shape, the axis of features and the class token of each layer's output.

    The network is run on two images of noise. The axis of a convolution, a norm, a linear layer and
    the like is known. For all other modules it is that of the known layers that return or receive
    a tensor of the same shape, if they agree. A sequence has a class token if somewhere a sequence
    of as many tokens begins with one that is the same for both images, and has others that differ.

    Parameters
    ----------
    layers, answer, typed : as for :func:`~repsim_energy.comparison.activations.observe`
    """
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    as_they_are = Normalization((0.0,) * image_shape[0], (1.0,) * image_shape[0])
    seen, shapes = _Seen(), {}

    def receive(layer: str, output: Tensor) -> None:
        shapes[layer] = tuple(output.shape[1:])

    with looking_on(module, device) as hooks:
        for part in module.modules():
            hooks.append(part.register_forward_pre_hook(seen.before))
            hooks.append(part.register_forward_hook(seen.after))
        observe(
            module,
            layers,
            images,
            2,
            as_they_are,
            device,
            receive,
            through=True,
            answer=answer,
            typed=typed,
        )
    modules = dict(module.named_modules())
    return {layer: seen.describe(modules[layers[layer]], shape) for layer, shape in shapes.items()}


@dataclass
class _Seen:
    """Tensors that pass between the modules of a network.

    Parameters
    ----------
    axes : shape for one image -> axes of features that layers of known kind have in it
    constant_first : shapes of sequences whose first entry is the same for both images
    """

    axes: dict[tuple[int, ...], set[int]] = field(default_factory=dict)
    constant_first: set[tuple[int, ...]] = field(default_factory=set)

    def before(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        """Record the input of a module."""
        self._see(module, given)

    def after(self, module: nn.Module, _: object, output: object) -> None:
        """Record the output of a module."""
        self._see(module, output if isinstance(output, tuple) else (output,))

    def _see(self, module: nn.Module, values: tuple[Any, ...]) -> None:
        tensor = values[0] if values else None
        if not isinstance(tensor, Tensor) or tensor.ndim < 3 or len(tensor) != 2:
            return
        shape = tuple(tensor.shape[1:])
        if (axis := _known_axis(module, tensor.ndim)) is not None:
            self.axes.setdefault(shape, set()).add(axis)
        if tensor.ndim == 3:
            equal = (tensor[0] == tensor[1]).all(-1)
            if bool(equal[0]) and not bool(equal.all()):
                self.constant_first.add(shape)

    def describe(self, module: nn.Module, shape: tuple[int, ...]) -> Output:
        """Return shape, axis of features and class token of the output of a module."""
        if len(shape) < 2:
            return Output(shape, 1, class_token=False)
        axis = _known_axis(module, len(shape) + 1) or self._agreed(shape)
        sequences = {count for count, d in self.constant_first if self._agreed((count, d)) == 2}
        return Output(shape, axis, axis == 2 and len(shape) == 2 and shape[0] in sequences)

    def _agreed(self, shape: tuple[int, ...]) -> int | None:
        axes = self.axes.get(shape, set())
        return next(iter(axes)) if len(axes) == 1 else None


def _known_axis(module: nn.Module, ndim: int) -> int | None:
    """Return the axis of features in the output (and input) of a layer of known kind."""
    if isinstance(module, FEATURES_FIRST):
        return 1
    last = type(module) in FEATURES_LAST and not _spans_axes(module)
    if last or (isinstance(module, BATCH_FIRST) and _batch_first(module)):
        return ndim - 1
    return None


def _spans_axes(module: nn.Module) -> bool:
    """Return whether a norm treats several axes alike, which leaves open where features are."""
    return isinstance(module, nn.LayerNorm) and len(module.normalized_shape) > 1


def _batch_first(module: nn.Module) -> bool:
    attention = getattr(module, "self_attn", module)
    return bool(getattr(attention, "batch_first", False))
