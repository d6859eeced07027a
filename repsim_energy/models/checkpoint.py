"""The model ``checkpoint``: a network, or the filters of a layer, with weights from a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import (
    FileError,
    ShapeError,
    UsageError,
    unknown_name,
    warn,
)
from repsim_energy.interfaces import Architecture, TrainedModel
from repsim_energy.models.files.file_content import Layout
from repsim_energy.models.files.file_norms import scale_in_file
from repsim_energy.models.files.first_filters import (
    first_filters,
    input_scales,
    layer_name,
    named_filters,
)
from repsim_energy.models.files.load_architecture import load_architecture
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
    sha256: str = "",
    **arch_options: Any,
) -> TrainedModel:
    """Return a network, or the filters of one layer alone, with weights from a file.

    Parameters
    ----------
    path : a .safetensors file, a PyTorch checkpoint, the index of one in several files, or an ONNX
        or Keras file
    layer : the layer whose filters are read, such as features.0; by default the first layer
    weights : the container to use if the file has several, such as model_ema
    arch : the architecture to load the weights into; by default only filters are read, which is
        all that can be read of ONNX and Keras files
    num_classes : number of outputs of the architecture; by default that of the file
    init : a file with the weights before training, for the stages ``init`` and ``change``
    normalize : normalization of the images: none, imagenet, cifar, dataset, MEAN/STD such as
        0.5/0.25, or auto: none for a network that normalizes inside, else dataset
    answer : the output to use if the network has several, such as logits
    fold : bn folds the batch norm that follows into the filters; of a file alone also the name of
        a batch norm, or either with its epsilon, such as bn/0.001
    channels : the order of the color channels that the network expects: rgb, or bgr as in Caffe
        and OpenCV; luma if it expects gray images, 0.299 R + 0.587 G + 0.114 B
    sha256 : first 8 or more digits of the file's SHA-256; another content is refused
    **arch_options : options of the architecture
    """
    file = load_weights(path, weights, sha256)
    if arch is None:
        if num_classes is not None or arch_options:
            given = next(iter(arch_options), "num_classes")
            raise unknown_name("option of model 'checkpoint' without arch=", given, OPTIONS)
        model: TrainedModel = _filters_of_file(file, layer, in_channels, init, weights)
    else:
        images = (classes, in_channels)
        load = partial(_load_network, arch=arch, options=arch_options, images=images)
        module = load(file, num_classes=num_classes)
        initial = _initial_network(load, init, weights, num_classes, module, layer)
        model = TrainedModel(module, layer, initial)
    return replace(
        model,
        normalization=parse_normalization(normalize, in_channels),
        answer=answer,
        file_sha256=file.content.sha256,
        fold=fold,
        channels=channels,
    )


OPTIONS = (
    *("path", "layer", "weights", "arch", "init", "normalize", "answer", "fold", "channels"),
    "sha256",
)
"""Options without an architecture, and ``arch`` itself."""


@dataclass(frozen=True, eq=False)
class FileFilters(TrainedModel):
    """The filters of one layer in a file.

    Parameters
    ----------
    scales : option ``fold`` -> the factors of that batch norm in the file
    """

    scales: Callable[[str], Folding] = lambda _: Folding("")


def _filters_of_file(
    file: Weights, layer: str | None, channels: int, init: Path | None, container: str | None
) -> FileFilters:
    """Return a module with the layer alone, under its name in the file."""
    name, tensor = _choose_filters(file, layer, channels)
    conv = _convolution(file, name, tensor)
    initial = _initial_filters(init, container, name, read_filters(conv, name))
    module = nn.Module()
    module_layer = _add_layer(module, layer_name(name), conv)
    scales = partial(_scales, file.path, name, init, container)
    return FileFilters(module, module_layer, initial, network=False, scales=scales)


def _choose_filters(file: Weights, layer: str | None, channels: int) -> tuple[str, Tensor]:
    """Return the filters of a layer, with warnings about scalings of the image before it."""
    for name, factors in input_scales(file, channels).items():
        numbers = ", ".join(f"{factor:.3g}" for factor in factors)
        warn(
            f"'{file.path}' holds '{name}' ({numbers}), by which its network may scale the "
            "channels of the image, which is not in its filters"
        )
    if layer is not None:
        return named_filters(file, layer)
    if file.content.preprocessing:
        warn(
            f"the network of '{file.path}' scales the image first "
            f"({file.content.preprocessing}), which is not in its filters"
        )
    return first_filters(file, channels)


def _scales(path: Path, name: str, init: Path | None, container: str | None, fold: str) -> Folding:
    """Return the factors of a batch norm in a file, and in the file before training."""
    file = load_weights(path, container)
    description, scale = scale_in_file(file, name, fold)
    scales = {"trained": scale}
    if init is not None:
        before = _load_initial(init, container)
        name_before = _name_before(before, name, file.effective.tensors[name].shape[1])
        scales["init"] = scale_in_file(before, name_before, fold)[1]
    return Folding(description, scales)


def _load_network(
    file: Weights,
    arch: Architecture,
    options: dict[str, Any],
    images: tuple[int, int],
    num_classes: int | None,
) -> nn.Module:
    """Return an architecture with the weights of a file.

    Parameters
    ----------
    images : their numbers of classes and channels
    """
    classes, channels = images
    if file.content.graph_format:
        raise UsageError(
            f"'{file.path}' is {file.content.graph_format}, of which only filters are read, "
            "expected no arch=; leave it out"
        )

    def build(outputs: int) -> nn.Module:
        built = arch(outputs, channels, **options)
        if isinstance(built, TrainedModel):
            raise UsageError(
                "got a trained model as arch=, expected an architecture; name one such as vgg11"
            )
        return built

    outputs = classes if num_classes is None else num_classes
    return load_architecture(build, file, outputs, fixed=num_classes is not None)


def _initial_network(
    load: Callable[..., nn.Module],
    path: Path | None,
    container: str | None,
    num_classes: int | None,
    module: nn.Module,
    layer: str | None,
) -> nn.Module | Tensor | None:
    """Return the network before training, or only the filters of its first layer.

    Parameters
    ----------
    load : weights of a file, ``num_classes`` -> the network with them
    path : of the file before training, which may hold the first layer only
    module : the network after training
    """
    if path is None:
        return None
    try:
        return load(_load_initial(path, container), num_classes=num_classes)
    except (FileError, UsageError):
        if not any(isinstance(submodule, nn.Conv2d) for submodule in module.modules()):
            raise
    name, conv = find_first_conv(module, layer)
    initial = _initial_filters(path, container, name, read_filters(conv, name))
    return None if initial is None else filters_from_weights(module, name, initial)


def _initial_filters(
    path: Path | None, container: str | None, layer: str, filters: Tensor
) -> Tensor | None:
    """Return the filters before training, of the same layer or else of the first in the file.

    Raises
    ------
    ShapeError
        If they differ in shape from those after training.
    """
    if path is None:
        return None
    file = _load_initial(path, container)
    name = _name_before(file, layer, filters.shape[1])
    initial = read_filters(_convolution(file, name, file.effective.tensors[name]), name)
    if initial.shape != filters.shape:
        raise ShapeError(
            f"got filters {tuple(initial.shape)} in '{path}', expected {tuple(filters.shape)} as "
            f"in '{layer}' after training; name the same layer before and after"
        )
    return initial


def _load_initial(path: Path, container: str | None) -> Weights:
    """Return the weights before training, whose file may lack the container."""
    try:
        return load_weights(path, container)
    except UsageError:
        return load_weights(path)


def _name_before(file: Weights, layer: str, channels: int) -> str:
    """Return the name of a layer in the file before training, or of the first layer there."""
    try:
        return named_filters(file, layer)[0]
    except UsageError:
        return first_filters(file, channels)[0]


def _convolution(file: Weights, name: str, weights: Tensor) -> nn.Conv2d:
    """Return a convolution with filters of a file, and with its groups and dilation."""
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
    """Add a layer to a module under its dotted name in the file, and return that name.

    An underscore is appended to parts that are attributes of every module, such as ``train``, and
    replaces commas, which separate layers in results.
    """
    parts = name.replace(",", "_").split(".")
    parts = [f"{part}_" if not part or hasattr(module, part) else part for part in parts]
    for part in parts[:-1]:
        inner = nn.Module()
        module.add_module(part, inner)
        module = inner
    module.add_module(parts[-1], layer)
    return ".".join(parts)
