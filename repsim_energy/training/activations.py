"""What the layers of a network answer to images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repsim_energy.errors import TrainingError, unknown_name
from repsim_energy.interfaces import Normalisation
from repsim_energy.models.layers import find_layer
from repsim_energy.training.loop import EVALUATION_BATCH, as_input

__all__ = ["FIRST", "OUTPUT", "activations", "layer_names"]

FIRST, OUTPUT = "first", "output"
"""Names that every network has: the layer that sees the image, and the network's answer."""


def layer_names(module: nn.Module, layers: Sequence[str]) -> dict[str, str]:
    """Return layer -> the name of the submodule (``""`` for the network itself).

    Raises
    ------
    UsageError
        For a name that the network does not have.
    """
    known = {name: name for name, _ in module.named_modules() if name}
    found = {}
    for layer in layers:
        if layer == FIRST:
            found[layer] = find_layer(module)[0]
        elif layer == OUTPUT:
            found[layer] = ""
        elif layer in known:
            found[layer] = layer
        else:
            raise unknown_name(f"layer of {type(module).__name__}", layer, [FIRST, OUTPUT, *known])
    return found


@torch.no_grad()
def activations(
    module: nn.Module,
    layers: Sequence[str],
    images: Tensor,
    normalisation: Normalisation,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return layer -> (n, ...) float32 activations on the CPU, in evaluation mode.

    Every captured tensor is copied at once: an in-place ReLU behind a layer would otherwise
    overwrite it.
    """
    names = layer_names(module, layers)
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    modules = dict(module.named_modules())
    hooks = []
    for layer, name in names.items():

        def keep(
            _: nn.Module, __: object, output: object, into: list[Tensor] = kept[layer]
        ) -> None:
            if not isinstance(output, Tensor):
                raise TrainingError(
                    f"a layer answers {type(output).__name__}, expected a tensor; name another "
                    "one with --layer"
                )
            into.append(output.detach().float().cpu().clone())

        hooks.append(modules[name].register_forward_hook(keep))
    was_training = module.training
    try:
        module.to(device).eval()
        for batch in images.split(EVALUATION_BATCH):
            module(as_input(batch.to(device), normalisation))
    finally:
        for hook in hooks:
            hook.remove()
        module.train(was_training)
    return {layer: torch.cat(parts) for layer, parts in kept.items()}
