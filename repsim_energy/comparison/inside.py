"""Recognition of networks that normalize their images themselves."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import looking_on
from repsim_energy.interfaces import Normalization
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.inputs import LAYOUTS, as_input

__all__ = ["normalizes_inside"]

CENTERS, WIDTHS = (0.05, 0.95), (0.02, 1.001)
"""Means and standard deviations with which images from 0 to 1 are normalized."""

AFFINE = 1e-3
"""Largest deviation from a linear map of the input, relative to its standard deviation."""


def normalizes_inside(module: nn.Module, images: Tensor, device: torch.device) -> bool:
    r"""Return whether a network normalizes images from 0 to 1 before its first layer.

    It does if its first convolution or linear layer receives :math:`(x_c - m_c) / s_c` of each
    channel c, in whatever order, with m between 0.05 and 0.95 and s between 0.02 and 1: so of
    networks with a mean and standard deviation of their own, and of those that stretch images to
    -1 .. 1. A network that changes images in another way as well, such as their size, is not
    recognized.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float; a few are shown
    """
    shown = images[:2].float() / (255 if images.dtype == torch.uint8 else 1)
    if not len(shown) or shown.min() < 0 or shown.max() > 1:
        return False
    received = None
    with contextlib.suppress(*NETWORK_ERRORS):
        received = _observe_input(module, shown, device)
    if received is None or received.numel() != shown.numel():
        return False
    x, z = (t.double().view(shown.shape).transpose(0, 1).flatten(1) for t in (shown, received))
    return all(any(_normalized(own, channel) for own in x) for channel in z)


def _normalized(x: Tensor, z: Tensor) -> bool:
    """Return whether the values of a channel arrive as (x - m) / s with plausible m and s."""
    spread = z.std()
    if not (spread > 0 and x.std() > 0):
        return False
    slope = ((x - x.mean()) * (z - z.mean())).mean() / (x - x.mean()).square().mean()
    at_zero = z.mean() - slope * x.mean()
    if not ((z - slope * x - at_zero).abs().max() <= AFFINE * spread and slope > 0):
        return False
    center, width = float(-at_zero / slope), float(1 / slope)
    return CENTERS[0] <= center <= CENTERS[1] and WIDTHS[0] <= width <= WIDTHS[1]


class _Received(Exception):
    """Ends a forward pass once the input of the first layer is known."""


@torch.no_grad()
def _observe_input(module: nn.Module, images: Tensor, device: torch.device) -> Tensor | None:
    """Return the input of the first convolution or linear layer for raw images."""
    received: list[Tensor] = []

    def hook(_: nn.Module, given: tuple[object, ...]) -> None:
        received.extend(part for part in given[:1] if isinstance(part, Tensor))
        raise _Received

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    linear = [part for part in module.modules() if isinstance(part, kinds)]
    with looking_on(module, device) as hooks:
        hooks += [part.register_forward_pre_hook(hook) for part in linear]
        as_they_are = Normalization((0.0,) * images.shape[1], (1.0,) * images.shape[1])
        with contextlib.suppress(_Received):
            module(as_input(images.to(device), as_they_are, module, LAYOUTS[1]))
    return received[0].detach().float().cpu().contiguous() if received else None
