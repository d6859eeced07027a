"""What the layers of a network answer to images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.interfaces import Normalisation
from repsim_energy.models.layers import find_layer
from repsim_energy.training.loop import as_input

__all__ = ["CONVS", "FIRST", "OUTPUT", "layer_names", "layer_sizes", "observe"]

FIRST, OUTPUT = "first", "output"
"""Names that every network has: the layer that sees the image, and the network's answer."""

CONVS = "convs"
"""Stands for all convolutions of a network, each under its own name."""

Receive = Callable[[str, Tensor], None]
"""Called with the name of a layer and its answer to a batch, before anything overwrites it."""


def layer_names(
    module: nn.Module, layers: Sequence[str], first: str | None = None
) -> dict[str, str]:
    """Return layer -> the name of the submodule (``""`` for the network itself).

    Parameters
    ----------
    first : the layer that gets the image; by default the first convolution that is registered

    Raises
    ------
    UsageError
        For a name that the network does not have.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    >>> layer_names(net, ["first", "convs", "output"])
    {'first': '0', '0': '0', '2': '2', 'output': ''}
    """
    known = {name: name for name, _ in module.named_modules() if name}
    found = {}
    for layer in layers:
        if layer == FIRST:
            found[layer] = first or find_layer(module)[0]
        elif layer == OUTPUT:
            found[layer] = ""
        elif layer == CONVS:
            found |= {n: n for n, m in module.named_modules() if isinstance(m, nn.Conv2d)}
        elif layer in known:
            found[layer] = layer
        else:
            raise unknown_name(
                f"layer of {type(module).__name__}", layer, [FIRST, OUTPUT, CONVS, *known]
            )
    return found


class _AllAnswered(Exception):
    """Leaves a network whose further layers nobody asked for."""


@torch.no_grad()
def observe(
    module: nn.Module,
    layers: Mapping[str, str],
    images: Tensor,
    batch: int,
    normalisation: Normalisation,
    device: torch.device,
    receive: Receive,
    *,
    through: bool = False,
) -> None:
    """Show images to a network in evaluation mode and hand on what its layers answer.

    Nothing is kept here and no graph is built. A tensor that ``receive`` keeps has to be copied:
    an in-place ReLU behind the layer overwrites it.

    Parameters
    ----------
    layers : layer -> the name of the submodule, as :func:`layer_names` gives
    images : (n, c, h, w) uint8 or float
    batch : how many images are shown at once
    receive : called once for every layer and batch, with the (batch, ...) float32 answer
    through : show images to the whole network, which finds layers that are used again later;
        otherwise the network is left as soon as all layers have answered

    Raises
    ------
    UsageError
        For layers that are not used exactly once for an image, or do not answer one tensor with
        a row for each image.
    """
    modules = dict(module.named_modules())
    answered: set[str] = set()

    def hook_of(layer: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, answer: object) -> None:
            if layer in answered:
                raise UsageError(
                    f"layer '{layer}' is used several times for an image, expected once; name the "
                    "module around it or another one with --layer"
                )
            answered.add(layer)
            if not isinstance(answer, Tensor) or answer.shape[:1] != (rows,):
                raise UsageError(
                    f"layer '{layer}' answers {_kind(answer)}, expected a tensor with a row for "
                    f"each of {rows} images; name another one with --layer"
                )
            if answer.is_complex():
                raise UsageError(
                    f"layer '{layer}' answers complex numbers, expected real ones; compare their "
                    "real and imaginary parts, as torch.view_as_real gives them"
                )
            receive(layer, answer.detach().float())
            if not through and answered == layers.keys():
                raise _AllAnswered

        return hook

    hooks = [modules[name].register_forward_hook(hook_of(key)) for key, name in layers.items()]
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.to(device).eval()
        for shown in images.split(batch):
            answered.clear()
            rows = len(shown)
            with contextlib.suppress(_AllAnswered):
                module(as_input(shown.to(device), normalisation, module))
            if unused := layers.keys() - answered:
                raise UsageError(
                    f"layer '{min(unused)}' is not used by {type(module).__name__}, expected one "
                    "that images pass through; name another one with --layer"
                )
    finally:
        for hook in hooks:
            hook.remove()
        for part, was_training in modes:
            part.training = was_training


def layer_sizes(
    module: nn.Module, layers: Mapping[str, str], images: Tensor, device: torch.device
) -> dict[str, int]:
    """Return layer -> how many numbers it answers to an image, tried with two images."""
    sizes: dict[str, int] = {}

    def receive(layer: str, answer: Tensor) -> None:
        sizes[layer] = answer[0].numel()

    channels = images.shape[1]
    as_they_are = Normalisation((0.0,) * channels, (1.0,) * channels)
    observe(module, layers, images[:2], 2, as_they_are, device, receive, through=True)
    return sizes


def _kind(answer: object) -> str:
    return f"shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
