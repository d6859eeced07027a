"""Units of a layer: their activations for images, as functions that have a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import entry_of
from repsim_energy.comparison.feature_axes import FEATURES_FIRST, FEATURES_LAST
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.partial_forward import layer_output
from repsim_energy.training.answers import answered
from repsim_energy.training.inputs import LAYOUTS, normalize_pixels

__all__ = ["POSITIONS", "Target", "check_axis", "unit_axis"]

POSITIONS = ("center", "mean")
"""Positions at which a unit's activation is maximized: the central one, or the mean of all."""


@dataclass(frozen=True, eq=False)
class Target:
    """A layer of a network, with the axis of its units and the position that counts.

    Parameters
    ----------
    module : the network
    layer : as the user names it
    name : of the submodule, ``""`` for the network itself
    answer : the entry of the network's own output to use
    normalization : of the images
    axis : of the output that counts the units
    position : ``center`` or ``mean``
    """

    module: nn.Module
    layer: str
    name: str
    answer: str
    normalization: Normalization
    axis: int
    position: str

    def activations(self, pixels: Tensor) -> Tensor:
        """Return the (n, units) activations for (n, c, h, w) pixels, as float32."""
        submodule = self.module.get_submodule(self.name)
        images = normalize_pixels(pixels, self.normalization, self.module, LAYOUTS[1])
        entry, how = entry_of(self.layer, self.name, self.answer)
        output = layer_output(submodule, self.module, images, 0)
        tensor = answered(output, len(images), f"layer '{self.layer}'", entry, how).float()
        if tensor.ndim == 1:
            return tensor[:, None]
        units = tensor.movedim(self.axis, 1)
        if self.position == "mean" and units.ndim > 2:
            return units.flatten(2).mean(2)
        while units.ndim > 2:
            units = units.select(2, units.shape[2] // 2)
        return units

    def check_gradient(self, pixels: Tensor) -> None:
        """Refuse a layer through which no gradient reaches the image.

        Raises
        ------
        UsageError
            For such a layer.
        """
        pixels = pixels.clone().requires_grad_()
        values = self.activations(pixels)
        gradient = None
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.sum(), [pixels], allow_unused=True)
        if gradient is None:
            raise UsageError(
                f"no gradient passes from layer '{self.layer}' to the image, expected one; name a "
                "layer before the operation that has none, such as detach, argmax or round"
            )


def unit_axis(submodule: nn.Module, shape: Sequence[int], image: Sequence[int], layer: str) -> int:
    """Return the axis of a layer's output that counts its units.

    It is axis 1 for outputs (n, d), and for those of convolutions. Maps of other layers have the
    proportions of the image, either (n, units, h, w) or (n, h, w, units).

    Parameters
    ----------
    shape : of the output, (n, ...)
    image : height and width of the images
    layer : its name, for errors

    Raises
    ------
    UsageError
        If it could be either.

    Examples
    --------
    >>> unit_axis(nn.ReLU(), (2, 8, 5, 5), (32, 32), "1")
    1
    >>> unit_axis(nn.Linear(3, 4), (2, 9, 4), (32, 32), "mlp")
    2
    """
    if len(shape) <= 2 or type(submodule) in FEATURES_FIRST:
        return 1
    if type(submodule) in FEATURES_LAST:
        return len(shape) - 1
    if len(shape) == 4:
        is_first, is_last = (_is_map(maps, image) for maps in (shape[2:], shape[1:3]))
        if is_first != is_last:
            return 1 if is_first else 3
    last = len(shape) - 1
    raise UsageError(
        f"layer '{layer}' returns shape {_text(shape)}, whose units could be on axis 1 ({shape[1]} "
        f"units) or axis {last} ({shape[-1]} units); write axis=1 or axis={last}"
    )


def check_axis(axis: int, shape: Sequence[int], layer: str) -> None:
    """Refuse an axis that the output of a layer, of this shape, does not have.

    Raises
    ------
    UsageError
        For such an axis.
    """
    last = max(1, len(shape) - 1)
    if isinstance(axis, bool) or not isinstance(axis, int) or not 1 <= axis <= last:
        raise UsageError(
            f"got axis={axis}, but layer '{layer}' returns shape {_text(shape)}, expected a number "
            f"from 1 to {last}"
        )


def _text(shape: Sequence[int]) -> str:
    return f"({', '.join(['n', *map(str, shape[1:])])})"


def _is_map(size: Sequence[int], image: Sequence[int]) -> bool:
    """Return whether rows and columns have the proportions of an image, up to one pixel."""
    return abs(size[0] * image[1] - size[1] * image[0]) < max(image)
