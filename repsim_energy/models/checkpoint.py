"""The user's own weights as a model that is taken as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import FileError, ShapeError, UsageError, unknown_name
from repsim_energy.interfaces import Architecture, TrainedModel
from repsim_energy.models.layers import find_layer
from repsim_energy.models.normalization import parse_normalization
from repsim_energy.models.weights import load_tensors

__all__ = ["checkpoint"]


def checkpoint(
    num_classes: int,
    in_channels: int,
    *,
    path: Path,
    layer: str | None = None,
    arch: Architecture | None = None,
    init: Path | None = None,
    normalize: str = "auto",
    answer: str = "",
    **arch_options: Any,
) -> TrainedModel:
    """Return a network, or the filters of one layer alone, from a file of weights.

    Parameters
    ----------
    path : a .safetensors file, or a PyTorch state_dict
    layer : the layer to read, such as features.0; by default the first that holds filters
    arch : the architecture to load the weights into; without it only filters are known
    init : a file with the weights before training, which makes the stage ``change`` known
    normalize : how images become its input: none, imagenet, cifar, dataset, MEAN/STD such as
        0.5/0.25, or auto: none for a network that normalizes inside, else dataset
    answer : which entry of what it answers is its answer, such as logits
    **arch_options : options of the architecture
    """
    tensors = load_tensors(path)
    initial = None if init is None else _filters(load_tensors(init), layer, init)[1]
    if arch is None:
        if arch_options:
            raise unknown_name("option of model 'checkpoint'", next(iter(arch_options)), _OPTIONS)
        name, weights = _filters(tensors, layer, path)
        module, network = _filters_alone(name, weights), False
    else:
        module, network = arch(_outputs(tensors, num_classes), in_channels, **arch_options), True
        if isinstance(module, TrainedModel):
            raise UsageError("arch= names a trained model, expected an architecture such as vgg11")
        _fill(module, tensors, path)
    _, found = find_layer(module, layer if network else None)
    if initial is not None and initial.shape != found.weight.shape:
        raise ShapeError(
            f"filters are {tuple(found.weight.shape)} in '{path}' but {tuple(initial.shape)} in "
            f"'{init}'; expected the same layer before and after training"
        )
    normalisation = parse_normalization(normalize, in_channels)
    return TrainedModel(module, layer if network else None, initial, network, normalisation, answer)


_OPTIONS = ("path", "layer", "arch", "init", "normalize", "answer")


def _filters(tensors: dict[str, Tensor], layer: str | None, path: Path) -> tuple[str, Tensor]:
    banks = {name: t for name, t in tensors.items() if t.ndim == 4}
    if not banks:
        raise FileError(f"'{path}' holds no (k, c, kh, kw) filters, expected those of a Conv2d")
    if layer is None:
        return next(iter(banks.items()))
    for name in (layer, f"{layer}.weight"):
        if name in banks:
            return name, banks[name]
    raise unknown_name(f"layer of '{path}'", layer, [n.removesuffix(".weight") for n in banks])


def _filters_alone(name: str, weights: Tensor) -> nn.Module:
    k, c, kh, kw = weights.shape
    conv = nn.Conv2d(c, k, (kh, kw), bias=False, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(weights)
    module = nn.Module()
    module.add_module(name.removesuffix(".weight").replace(".", "_"), conv)
    return module


def _outputs(tensors: dict[str, Tensor], num_classes: int) -> int:
    """Return the number of outputs of the last linear layer, where the file has one."""
    linear = [t for t in tensors.values() if t.ndim == 2]
    return len(linear[-1]) if linear else num_classes


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise FileError(
            f"'{path}' does not fit the architecture ({' '.join(lines)[:200]}); "
            "expected weights of the arch= and options given"
        ) from error
