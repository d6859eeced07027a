"""Find the layer that sees the image, and read or set up its filters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, unknown_name

__all__ = ["find_layer", "prepare_first_layer", "read_filters"]


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
