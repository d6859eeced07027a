"""Find the filters of the first layer among the tensors of a file, by names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from repsim_energy.errors import FileError, UsageError, first_few, unknown_name
from repsim_energy.models.files.weights import Weights

__all__ = ["first_filters", "input_scales", "layer_name", "named_filters"]

ENDINGS = (".weight", ".kernel", ".weights", ".filters")
"""Endings of the names of filters, after the name of the layer."""

NOT_FILTERS = frozenset(
    ("mask", "masks", "mean", "std", "var", "running", "norm", "scale", "zero", "exp", "avg", "sq",
     "grad", "grads", "momentum", "optimizer", "optim", "pos", "position", "positional", "anchor",
     "anchors", "grid", "lora", "num")
)  # fmt: skip
"""Words in the names of four-dimensional tensors that are not filters."""

TRANSPOSED = re.compile(
    r"decoder\w*|dec\d*|deconv\w*|convt\w*|\w*transposed?\d*|upconv\w*|up\d*|ups|upsampl\w*|"
    r"tconv\w*|torgb|unpool\w*"
)
"""Words in the names of transposed convolutions, and of layers that output images."""

IMAGE_WORDS = frozenset(("input", "inputs", "data", "image", "images", "pixel", "preprocess"))
SCALE_WORDS = frozenset(("scale", "std", "weight", "gamma"))
"""Words, the latter last, in the names of factors of the channels of the image."""

AVERAGES = frozenset(["ema", "shadow", "averaged", "swa"])
"""Words in the names of running averages that a file stores beside the weights."""

CONTAINERS = re.compile(
    r"(module|_orig_mod|model|net|network|backbone|encoder|base|base_model|base_net|body|trunk|"
    r"cnn|convnet|convs|features?|feature_extractor|main|layers|visual|vision_model|resnet|vgg|"
    r"vit|generator|discriminator|student|teacher)"
)
"""Modules that contain first layers."""

FIRST_LAYERS = re.compile(
    r"(conv(2d)?_?[01]?|conv_?1_1|conv2d_1a_3x3(\.conv)?|c1|0(\.0)*(\.conv)?|block1_conv1|"
    r"(conv|embed)_?(stem|in|first|proj|init|input)|(stem|first|input|initial)_?(conv|layer)?\d?"
    r"([._](conv|proj)\d?|\.0)*|conv_?[01]([._](conv|0))*|conv2d(\.conv2d)?|conv2d_1\.conv2d_1|"
    r"(embeddings?\.)?patch_embed(dings?)?(\.(proj|projection|backbone\.conv|conv))?|"
    r"embedder\.(embedding\.)?convolution|downsample_layers\.0\.0|conv_1_1|layer1?_?0\.conv)"
)
"""Usual names of first layers, without the containers."""


def named_filters(weights: Weights, layer: str) -> tuple[str, Tensor]:
    """Return the name and the filters of a layer.

    Parameters
    ----------
    weights : of the file
    layer : the name of the layer or of its tensor, also without its prefix

    Raises
    ------
    UsageError
        If there is no such layer, or several have that name.
    FileError
        If its tensor holds no filters.
    """
    tensors = weights.effective.tensors
    wanted = [layer, *(layer + ending for ending in ENDINGS)]
    names = [name for name in wanted if name in tensors]
    if not names:
        names = [n for n in tensors if any(n.endswith(f".{name}") for name in wanted)]
    names = [n for n in names if tensors[n].ndim == 4] or names
    whole = {f"{_without_containers(n)}{n.removeprefix(layer_name(n))}": n for n in names}
    names = [whole[name] for name in wanted if name in whole][:1] or names
    if len(names) > 1:
        raise UsageError(
            f"layer '{layer}' of '{weights.path}' may be {_describe(names, tensors)}, expected "
            "one; write its whole name with layer="
        )
    if not names:
        banks = [layer_name(n) for n, t in tensors.items() if t.ndim == 4]
        raise unknown_name(f"layer of '{weights.path}'", layer, banks)
    return _checked(weights, names[0])


def first_filters(weights: Weights, channels: int) -> tuple[str, Tensor]:
    """Return the name and the (k, c, kh, kw) filters of the first layer, by names and shapes.

    A tensor that the file names as ``first_layer`` is used. Else candidates have the channels of
    the images, and are no masks, means, codes, transposed convolutions, running averages or
    states of an optimizer. Among several candidates, usual names of first layers (``conv1``,
    ``stem``, ``features.0``, ``patch_embed.proj``) and the order of PyTorch files decide.

    Parameters
    ----------
    weights : of the file
    channels : of the images

    Raises
    ------
    UsageError
        If several candidates remain; the error lists them with their shapes.
    FileError
        If there are no filters.
    """
    if weights.first_layer is not None:
        return _checked(weights, weights.first_layer)
    tensors = weights.effective.tensors
    filters = _filters(weights)
    stems = _without_predecessors(filters, weights.ordered)
    candidates = [name for name in stems if tensors[name].shape[1] == channels] or stems
    candidates = _without_averages(candidates, tensors)
    usual = [name for name in candidates if _is_usual(name)]
    for names in (usual, candidates):
        if len(names) == 1 or (names and weights.ordered and not _are_copies(names)):
            return _checked(weights, names[0])
    candidates = candidates or list(filters)
    raise UsageError(
        f"the first layer of '{weights.path}' may be {_describe(candidates, tensors)}, expected "
        f"one; choose with layer={layer_name(candidates[0])}"
    )


def _filters(weights: Weights) -> dict[str, Tensor]:
    """Return the tensors that may be filters.

    Raises
    ------
    UsageError
        If the file has a graph, which does not show the first layer.
    FileError
        If there are none.
    """
    tensors = weights.effective.tensors
    banks = [name for name, tensor in tensors.items() if tensor.ndim == 4]
    if weights.content.problem:
        raise UsageError(
            f"the first layer of '{weights.path}' is not known ({weights.content.problem}), "
            f"expected one of {_describe(banks, tensors)}; choose with layer="
        )
    if not banks:
        raise FileError(
            f"'{weights.path}' holds {_describe(tensors, tensors)}, expected filters (k, c, kh, "
            "kw) of a Conv2d; name another file"
        )
    filters = {name: t for name, t in tensors.items() if _is_filters(name, t, tensors)}
    if not filters:
        raise FileError(
            f"'{weights.path}' holds {_describe(banks, tensors)}, expected floating-point filters "
            "(k, c, kh, kw) of a first layer; save the weights that the network applies, or name "
            "one with layer="
        )
    return filters


def input_scales(weights: Weights, channels: int) -> dict[str, list[float]]:
    """Return factors of the image's channels in a file, by name, if they differ much.

    These are tensors with a number for each channel, such as ``input.scale`` or
    ``data_bn.weight``. They differ much if one is less than half of the largest, or of another
    sign.

    Parameters
    ----------
    weights : of the file
    channels : of the images
    """
    scales = {}
    for name, tensor in weights.effective.tensors.items():
        words = re.split(r"[._]", name.lower())
        if tensor.numel() == channels > 1 and tensor.is_floating_point() and not tensor.is_meta:
            factors = tensor.double().flatten()
            differ = bool((factors / factors[factors.abs().argmax()] < 0.5).any())
            if differ and words[-1] in SCALE_WORDS and IMAGE_WORDS & set(words[:-1]):
                scales[name] = factors.tolist()
    return scales


def _checked(weights: Weights, name: str) -> tuple[str, Tensor]:
    """Return the name and the tensor of filters.

    Raises
    ------
    FileError
        If they are not floating-point numbers of four axes, or cannot be computed.
    """
    weights.effective.check_known(name)
    tensor = weights.effective.tensors[name]
    if tensor.ndim != 4 or not _has_values(tensor):
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise FileError(
            f"'{name}' in '{weights.path}' is {tuple(tensor.shape)} {dtype}, expected "
            "floating-point filters (k, c, kh, kw); save the weights that the network applies"
        )
    return name, tensor


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor holds floating-point values, no 8-bit codes and no meta tensor."""
    return tensor.is_floating_point() and tensor.element_size() > 1 and not tensor.is_meta


def _is_filters(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> bool:
    if tensor.ndim != 4 or not _has_values(tensor) or tensor.numel() == 0:
        return False
    k, c, kh, kw = tensor.shape
    parts = name.lower().split(".")
    words = set(re.split(r"[._]", name.lower()))
    if (
        k == kh * kw == 1
        or words & NOT_FILTERS
        or any(TRANSPOSED.fullmatch(w) for w in words | {*parts})
    ):
        return False
    bias = tensors.get(f"{layer_name(name)}.bias")
    if bias is not None and bias.ndim == 1 and len(bias) == c != k:
        return False  # the bias of a transposed convolution has the size of the second axis
    if k == c and (kw >= 4 * kh or kh >= 8):
        return False  # (kh, kw, c, k)
    return not bool(((tensor == 0) | (tensor == 1)).all())  # else a mask


def _without_predecessors(filters: Mapping[str, Tensor], ordered: bool) -> list[str]:
    """Return the filters whose input may be the image, by the shapes of all filters.

    These have 1, 3 or 4 input channels, or a number of input channels that no other filters
    output. If there are such of 3 or 4 channels, filters of one channel are depthwise. A layer
    whose output only earlier layers can take is a transposed convolution.
    """
    outputs = {t.shape[0] for t in filters.values()}
    stems = [n for n, t in filters.items() if t.shape[1] in (1, 3, 4) or t.shape[1] not in outputs]
    color = [n for n in stems if filters[n].shape[1] != 1 and filters[n].shape[1] not in outputs]
    if color:
        stems = [name for name in stems if filters[name].shape[1] != 1]
    return [name for name in stems if not _is_last(name, filters, ordered)]


def _is_last(name: str, filters: Mapping[str, Tensor], ordered: bool) -> bool:
    """Return whether only earlier layers can take the output of these filters."""
    k = filters[name].shape[0]
    takers = [n for n, t in filters.items() if n != name and t.shape[1] % k == 0]
    return bool(takers) and all(_is_before(n, name, filters, ordered) for n in takers)


def _is_before(one: str, other: str, names: Iterable[str], ordered: bool) -> bool:
    """Return whether a tensor comes earlier, by the order or by a number in its name."""
    if ordered:
        order = list(names)
        return order.index(one) < order.index(other)
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            return a.isdigit() and b.isdigit() and int(a) < int(b)
    return False


def _without_averages(names: list[str], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names without running averages and 1x1 filters, unless there are no others."""
    weights = [n for n in names if not AVERAGES & set(re.split(r"[._]", n.lower()))] or names
    return [n for n in weights if tensors[n].shape[2:] != (1, 1)] or weights


def _is_usual(name: str) -> bool:
    return FIRST_LAYERS.fullmatch(_without_containers(name).lower()) is not None


def _without_containers(name: str) -> str:
    """Return the name of a layer without the prefix of the modules that contain it."""
    parts = layer_name(name).split(".")
    while len(parts) > 1 and CONTAINERS.fullmatch(parts[0].lower()):
        parts = parts[1:]
    return ".".join(parts)


def _are_copies(names: list[str]) -> bool:
    """Return whether the same layer is there more than once, under several prefixes."""
    inner = [layer_name(name).partition(".")[2] for name in names]
    inner = [name for name in inner if name]
    return len(set(inner)) < len(inner)


def layer_name(name: str) -> str:
    """Return the name of the layer that a tensor belongs to."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def _describe(names: Iterable[str], tensors: Mapping[str, Tensor], most: int = 8) -> str:
    """Return names with shapes, and dtypes other than float32."""
    listed = []
    for name in names:
        dtype = str(tensors[name].dtype).removeprefix("torch.")
        suffix = "" if tensors[name].dtype == torch.float32 else f" {dtype}"
        listed.append(f"{name} {tuple(tensors[name].shape)}{suffix}")
    return first_few(listed, most)
