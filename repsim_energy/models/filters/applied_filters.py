"""Read the filters that a layer of a network applies to images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.models.filters.impulse_response import as_is
from repsim_energy.models.filters.layers import (
    applies_its_weight,
    find_first_conv,
    read_filters,
    step_of,
)
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.network_response import FailedForwardPass, response_through
from repsim_energy.models.filters.partial_forward import layer_inputs, run_eagerly
from repsim_energy.numerics.settings import own_settings

__all__ = [
    "Patch",
    "applied_filters",
    "filter_dilation",
    "filter_patch",
    "filters_from_weights",
    "mixes_channels",
]

Patch = tuple[int, int, int, int, int]
"""Channels, rows and columns of the pixels that a first layer sees at once, and the step from one
to the next, which is more than 1 in the filters of a dilated convolution."""

CONV_ARGUMENTS = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)
"""Arguments of ``nn.Conv2d`` that are stored as attributes."""

MIN_CHANGE = 0.01
"""Smallest change of another channel or pixel that counts, relative to the largest change."""

MIN_SCALE = 0.5
"""Smallest scale of a channel, relative to the largest, at which channels count as equally scaled:
networks divide channels by standard deviations, which are close to each other."""


def applied_filters(module: nn.Module, name: str, image: Sequence[int]) -> Tensor:
    """Return the (k, c, kh, kw) filters that a layer of a network applies to images (c, h, w).

    A convolution whose input channels are those of the image is read without the network. Other
    layers are read through it, and so are convolutions after operations that reverse or mix the
    channels. The filters are float32 on the CPU, and the state of the network is restored.

    Raises
    ------
    UsageError
        If the layer is not linear in the image, or applies different filters at different
        positions.

    Examples
    --------
    >>> net = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3))
    >>> applied_filters(net, "1", (3, 12, 12)).shape
    torch.Size([8, 3, 6, 6])
    """
    layer = module.get_submodule(name)
    if not isinstance(layer, nn.Conv2d):
        return response_through(module, name, image)
    if layer.in_channels == image[0] and not mixes_channels(module, name, image):
        return read_filters(layer, name)
    try:
        return response_through(module, name, image)
    except FailedForwardPass:  # other images; the caller compares their numbers of channels
        return read_filters(layer, name)


def mixes_channels(module: nn.Module, name: str, image: Sequence[int]) -> bool:
    """Return whether a network reverses, mixes or unequally scales the channels before a layer.

    One pixel is changed in one channel after the other. Channels are mixed if that changes other
    channels of the layer's input, at one pixel alone. They are scaled unequally if one changes its
    sign, or by less than half as much as another. Operations that change images otherwise, such as
    their size, give ``False``, and so does a network that fails.

    Examples
    --------
    >>> class Reversed(nn.Sequential):
    ...     def forward(self, images):
    ...         return super().forward(images.flip(1))
    >>> mixes_channels(Reversed(nn.Conv2d(3, 8, 3)), "0", (3, 8, 8))
    True
    """
    c, h, w = image
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(1, c, h, w, generator=generator, device="cpu").repeat(c + 1, 1, 1, 1)
    for channel in range(c):
        images[channel + 1, channel, h // 2, w // 2] += 0.5
    layer = module.get_submodule(name)
    with own_settings(), preserve_state(module), run_eagerly(module):
        try:
            network = as_is(module)
            inputs = [
                layer_inputs(layer, network, one, 0)[0].double().cpu() for one in images.split(1)
            ]
            change = torch.cat(inputs[1:]) - inputs[0]
        except Exception:  # a network's own code may raise anything
            return False
    if change.ndim != 4 or change.shape[1] != c:
        return False
    size = change.abs().amax((0, 1))
    pixels = (size > MIN_CHANGE * size.max()).nonzero()
    if len(pixels) != 1:
        return False
    matrix, most = change[:, :, pixels[0, 0], pixels[0, 1]], float(size.max())
    scales = matrix.diag()
    return bool(
        (matrix - scales.diag()).abs().max() > MIN_CHANGE * most
        or (scales / scales[scales.abs().argmax()]).min() < MIN_SCALE
    )


def filters_from_weights(
    module: nn.Module, name: str, weights: Tensor, image: Sequence[int] | None = None
) -> Tensor:
    """Return the filters that a layer would apply with other weights, such as initial ones.

    Weights of another shape than the layer's are returned unchanged, and so are those of a layer
    that applies its weights to the image directly.

    Parameters
    ----------
    weights : in the layout of the layer's own, (k, c / groups, kh, kw) for a grouped convolution
    image : (c, h, w) to read the filters through the network; by default the layer alone is read

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2))
    >>> filters_from_weights(net, "0", torch.randn(8, 2, 3, 3)).shape
    torch.Size([8, 4, 3, 3])
    """
    layer = module.get_submodule(name)
    if getattr(layer, "weight", weights[:0]).shape != weights.shape:
        return weights
    plain = isinstance(layer, nn.Conv2d) and applies_its_weight(layer)
    if plain and (
        image is None or (layer.in_channels == image[0] and not mixes_channels(module, name, image))
    ):
        return weights
    with own_settings(), preserve_state(module):
        if isinstance(own := layer._parameters.get("weight"), Tensor):
            own.detach().copy_(weights)
        elif isinstance(layer, nn.Conv2d):  # computed weights; these are the result already
            vars(layer)["forward"] = _conv_with_weights(layer, weights).forward
        else:
            return weights
        if image is None:
            return read_filters(find_first_conv(module, name).module, name)
        return applied_filters(module, name, image)


def _conv_with_weights(layer: nn.Conv2d, weights: Tensor) -> nn.Conv2d:
    """Return a plain convolution with the arguments of a layer and the given weights."""
    arguments: dict[str, Any] = {name: getattr(layer, name) for name in CONV_ARGUMENTS}
    plain = nn.Conv2d(**arguments, bias=False, device=weights.device, dtype=weights.dtype)
    plain.weight.detach().copy_(weights)
    return plain


def filter_dilation(layer: nn.Module, filters: Tensor) -> tuple[int, int]:
    """Return the distance in rows and columns between neighboring pixels that filters see.

    Of layers other than convolutions it is found from the rows and columns that are not zero.
    """
    if isinstance(layer, nn.Conv2d):
        return step_of(layer, filters)
    rows, columns = (
        _spacing(filters.any(1).any(0).any(axis).nonzero().flatten()) for axis in (1, 0)
    )
    return rows, columns


def filter_patch(layer: nn.Module, filters: Tensor) -> Patch:
    """Return the patch that the (k, c, kh, kw) filters of a layer see."""
    rows, columns = filter_dilation(layer, filters)
    c, kh, kw = filters[:, :, ::rows, ::columns].shape[1:]
    return int(c), int(kh), int(kw), rows, columns


def _spacing(indices: Tensor) -> int:
    """Return the distance between equally spaced indices that start at 0, and 1 for others."""
    steps = indices.diff()
    regular = len(steps) > 0 and int(indices[0]) == 0 and bool((steps == steps[0]).all())
    return int(steps[0]) if regular else 1
