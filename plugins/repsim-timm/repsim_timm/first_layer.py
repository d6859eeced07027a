"""First convolution of a timm model."""

from __future__ import annotations

from typing import Any

import repsim_energy as rs
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from timm.models import get_model_input_config
from torch import Tensor, nn

__all__ = [
    "expect_size",
    "first_layer",
    "fold_standardization",
    "standardizes",
]


def first_layer(net: nn.Module, name: str, channels: int) -> tuple[str, nn.Conv2d] | None:
    """Return name and layer of the first convolution, which sees images of ``channels`` channels.

    Returns
    -------
    tuple or None
        ``None`` for a network without convolution, whose patches go through a linear layer. Its
        filters are found by what it does with images.

    Raises
    ------
    UsageError
        If the first convolution does not see the image itself.
    """
    try:
        place, layer = rs.find_first_conv(net)
    except rs.UsageError:
        return None
    if layer.in_channels != channels:
        raise rs.UsageError(
            f"the first convolution '{place}' of timm/{name} sees {layer.in_channels} channels "
            f"that the network makes of the image's {channels}, expected the image itself; use "
            "another model such as timm/resnet18"
        )
    return place, layer


def expect_size(net: nn.Module, name: str) -> None:
    """Add a hook with which a network of a fixed input size refuses other images in one line."""
    config = get_model_input_config(net)
    if not config["fixed_input_size"]:
        return
    size = tuple(config["input_size"][1:])

    def check(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        rows, columns = inputs[0].shape[-2:]
        if (rows, columns) != size:
            raise rs.ShapeError(
                f"timm/{name} sees {size[0]}x{size[1]} images, got {rows}x{columns}; give the "
                f"model img_size={rows} or the data set size={size[0]}"
            )

    net.register_forward_pre_hook(check)


def standardizes(layer: nn.Module) -> bool:
    """Return whether a convolution standardizes its weights before it applies them."""
    return isinstance(layer, (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame))


@torch.no_grad()
def fold_standardization(net: nn.Module, place: str) -> None:
    r"""Replace a convolution that standardizes its weights by a plain one with the same filters.

    Each filter w is applied as :math:`g\,(w - \bar w) / \sqrt{\operatorname{var} w + \epsilon}`,
    with g = 1, or a trained gain over the square root of the number of inputs.

    Source: Qiao et al., Weight Standardization, arXiv:1903.10520; with a gain Brock et al.,
    arXiv:2101.08692; both as timm.layers.std_conv computes them.
    """
    layer: Any = net.get_submodule(place)
    if not standardizes(layer):
        return
    gain = layer.gain.flatten() * layer.scale if hasattr(layer, "gain") else None
    kind: type[nn.Conv2d] = Conv2dSame if getattr(layer, "same_pad", False) else nn.Conv2d
    plain = kind(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=layer.bias is not None,
    )
    rows: Tensor = layer.weight.reshape(1, layer.out_channels, -1)
    applied = F.batch_norm(rows, None, None, weight=gain, training=True, eps=layer.eps)
    plain.weight.copy_(applied.view_as(layer.weight))
    plain.bias = layer.bias
    net.set_submodule(place, plain)
