"""Filters of a layer anywhere in a network, and the patches of its own input that they see."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError
from repsim_energy.models.filters.layers import is_plain, read_filters, real_filters
from repsim_energy.numerics.patches.seen import Window
from repsim_energy.numerics.settings import own_settings

__all__ = ["layer_filters", "patch_size", "window_of"]

MODES = {"zeros": "constant"}
"""Padding mode of a convolution -> that of ``torch.nn.functional.pad``; others have one name."""


def window_of(layer: nn.Module, name: str) -> Window:
    """Return the window of the patches that a convolution or linear layer sees.

    A linear layer sees vectors: patches of one pixel.

    Raises
    ------
    UsageError
        For other layers.
    """
    if isinstance(layer, nn.Linear):
        return Window((1, 1))
    if not isinstance(layer, nn.Conv2d):
        raise UsageError(
            f"layer '{name}' is {type(layer).__name__}, expected Conv2d or Linear, which have "
            "filters; name one of these"
        )
    (kh, kw), (rows, columns), (down, across) = layer.kernel_size, layer.dilation, layer.stride
    if isinstance(layer.padding, str):
        missing = (rows * (kh - 1), columns * (kw - 1)) if layer.padding == "same" else (0, 0)
        (top, left), (bottom, right) = ((n // 2 for n in missing), (n - n // 2 for n in missing))
    else:
        top, left = bottom, right = layer.padding
    return Window(
        (kh, kw),
        (down, across),
        (rows, columns),
        (left, right, top, bottom),
        MODES.get(layer.padding_mode, layer.padding_mode),
        layer.groups,
    )


def patch_size(layer: nn.Module) -> int:
    """Return the numbers of a patch that a filter of a layer sees."""
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]
    assert isinstance(layer, nn.Linear)
    return layer.in_features


@own_settings()
def layer_filters(layer: nn.Module, name: str) -> Tensor:
    """Return the filters that a convolution or linear layer applies to its own input.

    Parameters
    ----------
    layer : of class ``Conv2d`` or ``Linear``, or of a class derived from these
    name : of the layer, for errors

    Returns
    -------
    (k, c, kh, kw) float32 on the CPU, a copy: c channels of one group, without the holes of a
    dilation. kh and kw are 1 for a linear layer.

    Raises
    ------
    UsageError
        For other layers, for complex filters, and for a convolution that is not linear.
    """
    window = window_of(layer, name)
    for numbers in layer.parameters():
        real_filters(numbers, name)
    if is_plain(layer):
        weight = cast(Tensor, layer.weight).detach().float().cpu()
        return weight.reshape(*weight.shape[:2], *window.size).clone()
    if not isinstance(layer, nn.Conv2d):
        like, size = next(layer.parameters()), patch_size(layer)
        zeros = torch.zeros(1, size, dtype=like.dtype, device=like.device)
        units = torch.eye(size, dtype=like.dtype, device=like.device)
        responses: Tensor = (layer(units) - layer(zeros)).T.float().cpu()
        return responses[:, :, None, None].contiguous()
    rows, columns = window.dilation
    dense = read_filters(layer, name)[:, :, ::rows, ::columns]
    grouped = dense.unflatten(1, (window.groups, -1))
    of_filter = torch.arange(len(dense)) * window.groups // len(dense)
    filters: Tensor = grouped[torch.arange(len(dense)), of_filter].contiguous()
    return filters
