"""The first convolution of a network: find it, read its filters, initialize it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsim_energy.errors import ShapeError, UsageError, unknown_name
from repsim_energy.interfaces import PatchTransform
from repsim_energy.models.filters.impulse_response import impulse_response

__all__ = [
    "NamedConv",
    "applies_its_weight",
    "find_first_conv",
    "init_first_layer",
    "is_plain",
    "read_filters",
    "real_filters",
    "see_transformed_patches",
    "step_of",
]


class NamedConv(NamedTuple):
    """A convolution and its name in the network.

    Parameters
    ----------
    name : dotted, as in ``named_modules()``
    module : the convolution
    """

    name: str
    module: nn.Conv2d


def find_first_conv(module: nn.Module, name: str | None = None) -> NamedConv:
    """Return the convolution whose filters see image patches, with its name.

    Without a name this is the first ``Conv2d`` in the order in which the network registers its
    layers: the stem of a CNN, the patch embedding of a vision transformer.

    Parameters
    ----------
    module : any network
    name : the dotted name of another ``Conv2d`` to take

    Returns
    -------
    A named tuple with the fields ``name`` and ``module``

    Raises
    ------
    UsageError
        Where there is no such layer.

    Examples
    --------
    >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Conv2d(8, 8, 3))
    >>> find_first_conv(net).name, find_first_conv(net, "1").module.in_channels
    ('0.0', 8)
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
    return NamedConv(name, convolutions[name])


def read_filters(layer: nn.Conv2d, name: str = "layer") -> Tensor:
    """Return the filters that a convolution applies to its input.

    The filters of a plain convolution are its weights. Those of any other one (a subclass that
    computes its weights, weight norm, pruning, dilation, groups) are its impulse responses, which
    are measured without changing the layer. Filters are zero at the holes of a dilation, and at
    channels that their group does not receive.

    Parameters
    ----------
    layer : the convolution
    name : of the layer, for errors

    Returns
    -------
    (k, c, kh, kw) float32 on the CPU, a copy

    Raises
    ------
    UsageError
        For complex filters, and for a layer whose response is not linear or depends on the
        position.

    Examples
    --------
    >>> read_filters(nn.Conv2d(4, 8, 3, groups=2, dilation=(1, 2))).shape
    torch.Size([8, 4, 3, 5])
    """
    for numbers in layer.parameters():
        real_filters(numbers, name)
    if applies_its_weight(layer):
        return layer.weight.detach().float().cpu().clone(memory_format=torch.contiguous_format)
    extent = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    rows, columns = (e + 2 * s for e, s in zip(extent, layer.stride, strict=True))
    return impulse_response(layer, layer.in_channels, (rows, columns), name).float().contiguous()


def applies_its_weight(layer: nn.Module) -> bool:
    """Return True for a plain convolution, whose filters are its weights.

    A convolution of transformed patches counts as one.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and (is_plain(layer) or (type(layer) is _TransformedPatchConv and _has_own_weight(layer)))
        and layer.groups == 1
        and set(layer.dilation) == {1}
    )


def is_plain(layer: nn.Module) -> bool:
    """Return True for a ``Conv2d`` or ``Linear`` that applies its weight as it is stored."""
    return type(layer) in (nn.Conv2d, nn.Linear) and _has_own_weight(layer)


def _has_own_weight(layer: nn.Module) -> bool:
    """Return whether nothing computes the weight of a layer or replaces its forward pass."""
    weight = layer._parameters.get("weight")
    return (
        weight is not None
        and type(weight) in (nn.Parameter, Tensor)
        and weight.is_floating_point()
        and not (layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))
    )


def step_of(layer: nn.Module, filters: Tensor) -> tuple[int, int]:
    """Return the distance in rows and columns between neighboring pixels that filters see.

    It is (1, 1), except for the filters of a dilated convolution, which have holes.

    Parameters
    ----------
    layer : the layer that the filters were read from
    filters : (k, c, kh, kw) of :func:`read_filters`, holes included

    Examples
    --------
    >>> layer = nn.Conv2d(1, 1, 3, dilation=2)
    >>> step_of(layer, read_filters(layer))
    (2, 2)
    """
    if not isinstance(layer, nn.Conv2d):
        return (1, 1)
    rows, columns = layer.dilation
    seen = filters[:, :, ::rows, ::columns]
    whole = tuple(seen.shape[2:]) == layer.kernel_size
    holes_are_empty = bool(torch.count_nonzero(seen) == torch.count_nonzero(filters))
    return (rows, columns) if whole and holes_are_empty else (1, 1)


def real_filters(weights: Tensor, name: str) -> Tensor:
    """Return filters if they are real numbers, and refuse complex ones.

    Raises
    ------
    UsageError
        For complex filters.
    """
    if weights.is_complex():
        raise UsageError(
            f"'{name}' has filters of {weights.dtype}, expected real ones; compare their real and "
            "imaginary parts as two banks"
        )
    return weights


def init_first_layer(
    module: nn.Module, *, frozen: bool = False, sigma: float | None = None
) -> None:
    """Initialize the first convolution of a new network.

    Parameters
    ----------
    module : the network; its first convolution is changed in place
    frozen : True excludes the layer from training
    sigma : standard deviation of normally distributed initial weights; ``None`` leaves the weights
        as they are

    Raises
    ------
    UsageError
        For a network without convolutions, and for a negative ``sigma``.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU())
    >>> init_first_layer(net, sigma=0.0, frozen=True)
    >>> float(net[0].weight.abs().max()), net[0].weight.requires_grad
    (0.0, False)
    """
    layer = find_first_conv(module).module
    if sigma is not None:
        if sigma < 0:
            raise UsageError(f"sigma is {sigma}, expected a standard deviation >= 0")
        nn.init.normal_(layer.weight, std=sigma)
    if frozen:
        layer.requires_grad_(False)


class _TransformedPatchConv(nn.Conv2d):
    """Convolution of transformed patches Tp, with stride 1 and without padding."""

    transform: Tensor

    def __init__(self, layer: nn.Conv2d, transform: PatchTransform) -> None:
        size = (transform.patch[1], transform.patch[2])
        super().__init__(layer.in_channels, layer.out_channels, size, bias=layer.bias is not None)
        self.weight, self.bias = layer.weight, layer.bias
        matrix = transform.matrix.to(layer.weight)
        self.register_buffer("transform", matrix, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the (n, k, h, w) responses of the filters to the transformed patches."""
        seen = (self.weight.flatten(1) @ self.transform).view_as(self.weight)
        return F.conv2d(images, seen, self.bias)


def see_transformed_patches(
    module: nn.Module, transform: PatchTransform, name: str | None = None
) -> None:
    """Make the first layer apply its filters to transformed patches.

    The filters remain the parameters of the layer. Its stride becomes 1 and its padding 0, so that
    it sees each overlapping patch once.

    Parameters
    ----------
    module : the network; the layer is replaced in place
    transform : of patches with the shape of the filters
    name : of the layer; by default the first convolution that the network registers

    Raises
    ------
    ShapeError
        For a transform of patches of another shape.
    """
    if name is None:
        name = find_first_conv(module).name
    layer = module.get_submodule(name)
    if not isinstance(layer, nn.Conv2d) or not applies_its_weight(layer):
        raise UsageError(
            f"layer '{name}' computes the filters that it applies, or has holes or groups, "
            "expected a plain convolution where the patches are transformed; use another model"
        )
    if tuple(layer.weight.shape[1:]) != transform.patch:
        raise ShapeError(
            f"patches of the images are transformed as {transform.patch} but layer '{name}' sees "
            f"{tuple(layer.weight.shape[1:])}; give the variant the patch= of the layer"
        )
    module.set_submodule(name, _TransformedPatchConv(layer, transform))
