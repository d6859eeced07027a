"""The user's own weights as a model that is taken as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import FileError, RepsimWarning, ShapeError, UsageError, unknown_name
from repsim_energy.interfaces import Architecture, TrainedModel
from repsim_energy.models.files.file_content import Layout
from repsim_energy.models.files.file_norms import scale_in_file
from repsim_energy.models.files.first_filters import (
    first_filters,
    layer_name,
    named_filters,
    scales_of_the_image,
)
from repsim_energy.models.files.load_architecture import fitted
from repsim_energy.models.files.weights import Weights, load_weights
from repsim_energy.models.filters.applied_filters import filters_from_weights
from repsim_energy.models.filters.layers import find_first_conv, read_filters, real_filters
from repsim_energy.models.filters.norm_folding import Folding
from repsim_energy.models.normalization import parse_normalization

__all__ = ["FileFilters", "checkpoint"]


def checkpoint(
    classes: int,
    in_channels: int,
    /,
    *,
    path: Path,
    layer: str | None = None,
    weights: str | None = None,
    arch: Architecture | None = None,
    num_classes: int | None = None,
    init: Path | None = None,
    normalize: str = "auto",
    answer: str = "",
    fold: str = "",
    channels: str = "rgb",
    **arch_options: Any,
) -> TrainedModel:
    """Return a network, or the filters of one layer alone, from a file of weights.

    Parameters
    ----------
    path : a .safetensors file, a PyTorch checkpoint, the index of one in several files, or an ONNX
        or Keras file
    layer : the layer to read, such as features.0; by default the one that sees the image
    weights : the container to take where the file holds several, such as model_ema
    arch : the architecture to load the weights into; without it only filters are known, and of
        ONNX and Keras files no more than that
    num_classes : the outputs of the architecture; by default as many as the file has
    init : a file with the weights before training, which makes the stage ``change`` known
    normalize : how images become its input: none, imagenet, cifar, dataset, MEAN/STD such as
        0.5/0.25, or auto: none for a network that normalizes inside, else dataset
    answer : which entry of what it answers is its answer, such as logits
    fold : bn folds the batch norm that follows into the filters; of a file alone also the name of
        a batch norm, or either with its epsilon, such as bn/0.001
    channels : the order in which the network takes red, green and blue: rgb, or bgr of Caffe and
        OpenCV
    **arch_options : options of the architecture
    """
    file = load_weights(path, weights)
    if arch is None:
        if num_classes is not None or arch_options:
            given = next(iter(arch_options), "num_classes")
            raise unknown_name("option of model 'checkpoint' without arch=", given, _OPTIONS)
        name, tensor = _filters(file, layer, in_channels)
        conv = _convolution(file, name, tensor)
        initial = _initial(init, weights, name, read_filters(conv, name))
        module = nn.Module()
        shown = _add_layer(module, layer_name(name), conv)
        scales = partial(_scales, path, name, init, weights)
        taken: TrainedModel = FileFilters(module, shown, initial, network=False, scales=scales)
    else:
        module = _network(file, arch, arch_options, (classes, in_channels), num_classes)
        before = partial(_network, arch=arch, options=arch_options, images=(classes, in_channels))
        at_first = _network_before(before, init, weights, num_classes, module, layer)
        taken = TrainedModel(module, layer, at_first)
    normalization = parse_normalization(normalize, in_channels)
    return replace(
        taken,
        normalization=normalization,
        answer=answer,
        file_sha256=file.content.sha256,
        fold=fold,
        channels=channels,
    )


_OPTIONS = (
    "path",
    "layer",
    "weights",
    "arch",
    "init",
    "normalize",
    "answer",
    "fold",
    "channels",
)


@dataclass(frozen=True, eq=False)
class FileFilters(TrainedModel):
    """The filters of a file alone.

    Parameters
    ----------
    scales : gives the factors of the batch norm in the file that is asked for
    """

    scales: Callable[[str], Folding] = lambda _: Folding("")


def _scales(path: Path, name: str, init: Path | None, chosen: str | None, word: str) -> Folding:
    """Return the factors of a batch norm in a file, and in that of the weights before training."""
    file = load_weights(path, chosen)
    said, scale = scale_in_file(file, name, word)
    scales = {"trained": scale}
    if init is not None:
        before = _weights_before(init, chosen)
        first = _filters_before(before, name, file.effective.tensors[name].shape[1])
        scales["init"] = scale_in_file(before, first, word)[1]
    return Folding(said, scales)


def _network(
    file: Weights,
    arch: Architecture,
    options: dict[str, Any],
    images: tuple[int, int],
    num_classes: int | None,
) -> nn.Module:
    classes, channels = images
    if file.content.graph:
        raise UsageError(
            f"'{file.path}' is {file.content.graph}, of which filters alone are read, expected no "
            "arch=; leave it out"
        )

    def build(outputs: int) -> nn.Module:
        built = arch(outputs, channels, **options)
        if isinstance(built, TrainedModel):
            raise UsageError("arch= names a trained model, expected an architecture such as vgg11")
        return built

    outputs = classes if num_classes is None else num_classes
    return fitted(build, file, outputs, given=num_classes is not None)


def _filters(file: Weights, layer: str | None, channels: int) -> tuple[str, Tensor]:
    for name, factors in scales_of_the_image(file, channels).items():
        numbers = ", ".join(f"{factor:.3g}" for factor in factors)
        warnings.warn(
            f"'{file.path}' holds '{name}' ({numbers}), by which its network may scale the "
            "channels of the image first; that is not in its filters",
            RepsimWarning,
            stacklevel=3,
        )
    if layer is not None:
        return named_filters(file, layer)
    if file.content.note:
        warnings.warn(
            f"'{file.path}': {file.content.note}, which is not in its filters",
            RepsimWarning,
            stacklevel=3,
        )
    return first_filters(file, channels)


def _network_before(
    network: Callable[..., nn.Module],
    path: Path | None,
    chosen: str | None,
    num_classes: int | None,
    module: nn.Module,
    layer: str | None,
) -> nn.Module | Tensor | None:
    """Return the whole network before training, or the weights of its first layer, if that is all.

    Parameters
    ----------
    network : weights of a file, ``num_classes`` -> the network with them
    module : the network after training
    """
    if path is None:
        return None
    try:
        return network(_weights_before(path, chosen), num_classes=num_classes)
    except (FileError, UsageError):
        if not any(isinstance(part, nn.Conv2d) for part in module.modules()):
            raise
    name, found = find_first_conv(module, layer)
    initial = _initial(path, chosen, name, read_filters(found, name))
    return None if initial is None else filters_from_weights(module, name, initial)


def _initial(path: Path | None, chosen: str | None, layer: str, filters: Tensor) -> Tensor | None:
    """Return the filters before training: of the same layer, or of the first in the file.

    Raises
    ------
    ShapeError
        Where they have another shape than those after training.
    """
    if path is None:
        return None
    file = _weights_before(path, chosen)
    name = _filters_before(file, layer, filters.shape[1])
    found = read_filters(_convolution(file, name, file.effective.tensors[name]), name)
    if found.shape != filters.shape:
        raise ShapeError(
            f"filters are {tuple(filters.shape)} of '{layer}' but {tuple(found.shape)} in "
            f"'{path}'; expected the same layer before and after training"
        )
    return found


def _weights_before(path: Path, chosen: str | None) -> Weights:
    try:
        return load_weights(path, chosen)
    except UsageError:
        return load_weights(path)  # weights= need not be in both files


def _filters_before(file: Weights, layer: str, channels: int) -> str:
    try:
        return named_filters(file, layer)[0]
    except UsageError:
        return first_filters(file, channels)[0]


def _convolution(file: Weights, name: str, weights: Tensor) -> nn.Conv2d:
    """Return a layer that applies filters of a file as its network does."""
    layout = file.content.layouts.get(name, Layout())
    k, c, kh, kw = real_filters(weights, name).shape
    conv = nn.Conv2d(
        c * layout.groups,
        k,
        (kh, kw),
        bias=False,
        dtype=torch.float32,
        device="cpu",
        groups=layout.groups,
        dilation=layout.dilation,
    )
    with torch.no_grad():
        conv.weight.copy_(weights)
    return conv


def _add_layer(module: nn.Module, name: str, layer: nn.Module) -> str:
    """Add a layer under the dotted name that it has in the file, and return that name.

    Parts that torch keeps for itself, such as ``train``, get a line after them; commas, which
    separate layers in results, become lines.
    """
    parts = name.replace(",", "_").split(".")
    parts = [f"{part}_" if not part or hasattr(module, part) else part for part in parts]
    for part in parts[:-1]:
        inner = nn.Module()
        module.add_module(part, inner)
        module = inner
    module.add_module(parts[-1], layer)
    return ".".join(parts)
