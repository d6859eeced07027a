"""Find the layer that sees the image, and read or set up its filters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsim_energy.errors import ShapeError, UsageError, unknown_name
from repsim_energy.interfaces import PatchTransform

__all__ = ["find_layer", "prepare_first_layer", "read_filters", "see_transformed_patches"]


def find_layer(module: nn.Module, name: str | None = None) -> tuple[str, nn.Conv2d]:
    """Return the name and the convolution whose filters see image patches.

    Without a name this is the first ``Conv2d`` in the order in which the network registers its
    layers: the stem of a CNN, the patch embedding of a vision transformer.

    Parameters
    ----------
    module : any network
    name : the dotted name of another ``Conv2d`` to take

    Raises
    ------
    UsageError
        Where there is no such layer, or it is not a plain convolution.

    Examples
    --------
    >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Conv2d(8, 8, 3))
    >>> find_layer(net)[0]
    '0.0'
    """
    convolutions = {n: m for n, m in module.named_modules() if isinstance(m, nn.Conv2d)}
    kind = type(module).__name__
    if not convolutions:
        raise UsageError(
            f"{kind} has no Conv2d layer, expected one that sees image patches; "
            "use a convolutional network"
        )
    if name is not None and name not in convolutions:
        raise unknown_name(f"convolution of {kind}", name, convolutions)
    name = next(iter(convolutions)) if name is None else name
    layer = convolutions[name]
    if layer.groups != 1:
        raise UsageError(
            f"layer '{name}' of {kind} is a convolution in {layer.groups} groups, its filters do "
            "not see whole patches; name another one with layer="
        )
    return name, layer


def read_filters(layer: nn.Conv2d) -> Tensor:
    """Return a copy of the (k, c, kh, kw) weights of a layer, float32 on the CPU."""
    return layer.weight.detach().float().cpu().clone(memory_format=torch.contiguous_format)


def prepare_first_layer(
    module: nn.Module, *, frozen: bool = False, sigma: float | None = None
) -> None:
    """Set up the first layer of a new network.

    Parameters
    ----------
    frozen : True keeps it as initialised through any training
    sigma : the standard deviation of normal initial weights; ``None`` leaves them as they are
    """
    _, layer = find_layer(module)
    if sigma is not None:
        if sigma < 0:
            raise UsageError(f"sigma is {sigma}, expected a standard deviation >= 0")
        nn.init.normal_(layer.weight, std=sigma)
    if frozen:
        layer.requires_grad_(False)


class _TransformedPatchConv(nn.Conv2d):
    """A convolution, without padding and with stride 1, of patches Tp in place of p."""

    transform: Tensor

    def __init__(self, layer: nn.Conv2d, transform: PatchTransform) -> None:
        size = (transform.patch[1], transform.patch[2])
        super().__init__(layer.in_channels, layer.out_channels, size, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        matrix = transform.matrix.to(layer.weight)
        self.register_buffer("transform", matrix, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, k, h, w) responses of the filters to the transformed patches."""
        seen = (self.weight.flatten(1) @ self.transform).view_as(self.weight)
        return F.conv2d(images, seen, self.bias)


def see_transformed_patches(module: nn.Module, transform: PatchTransform) -> None:
    """Let the first layer see transformed patches; its filters stay the parameters.

    The layer's own stride and padding are replaced by stride 1 and none, so that it sees each
    overlapping patch once.

    Raises
    ------
    ShapeError
        Where the transform is of other patches.
    """
    name, layer = find_layer(module)
    if tuple(layer.weight.shape[1:]) != transform.patch:
        raise ShapeError(
            f"the images' patches are changed as {transform.patch} but layer '{name}' sees "
            f"{tuple(layer.weight.shape[1:])}; give the variant the patch= of the layer"
        )
    module.set_submodule(name, _TransformedPatchConv(layer, transform))
