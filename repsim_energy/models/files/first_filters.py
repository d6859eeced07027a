"""Which tensor of a file holds the filters that see the image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from repsim_energy.errors import FileError, UsageError, first_few, unknown_name
from repsim_energy.models.files.weights import Weights

__all__ = ["first_filters", "layer_name", "named_filters", "scales_of_the_image"]

ENDINGS = (".weight", ".kernel", ".weights", ".filters")
"""What follows the name of a layer in the names of its filters."""

NOT_FILTERS = frozenset(
    ("mask", "masks", "mean", "std", "var", "running", "norm", "scale", "zero", "exp", "avg", "sq",
     "grad", "grads", "momentum", "optimizer", "optim", "pos", "position", "positional", "anchor",
     "anchors", "grid", "lora", "num")
)  # fmt: skip
"""Words in the names of four-dimensional tensors that are not filters."""

TURNED = re.compile(
    r"decoder\w*|dec\d*|deconv\w*|convt\w*|\w*transposed?\d*|upconv\w*|up\d*|ups|upsampl\w*|"
    r"tconv\w*|torgb|unpool\w*"
)
"""Words in the names of transposed convolutions, and of parts that give images."""

IMAGE = frozenset(("input", "inputs", "data", "image", "images", "pixel", "preprocess"))
FACTORS = frozenset(("scale", "std", "weight", "gamma"))
"""Words in the names of what a network scales the image by, and the last of them."""

SHADOWS = frozenset(["ema", "shadow", "averaged", "swa"])
"""Words in the names of running averages that a file keeps beside the weights."""

WRAPPERS = re.compile(
    r"(module|_orig_mod|model|net|network|backbone|encoder|base|base_model|base_net|body|trunk|"
    r"cnn|convnet|convs|features?|feature_extractor|main|layers|visual|vision_model|resnet|vgg|"
    r"vit|generator|discriminator|student|teacher)"
)
"""Parts that first layers stand in."""

KNOWN = re.compile(
    r"(conv(2d)?_?[01]?|conv_?1_1|conv2d_1a_3x3(\.conv)?|c1|0(\.0)*(\.conv)?|block1_conv1|"
    r"(conv|embed)_?(stem|in|first|proj|init|input)|(stem|first|input|initial)_?(conv|layer)?\d?"
    r"([._](conv|proj)\d?|\.0)*|conv_?[01]([._](conv|0))*|conv2d(\.conv2d)?|conv2d_1\.conv2d_1|"
    r"(embeddings?\.)?patch_embed(dings?)?(\.(proj|projection|backbone\.conv|conv))?|"
    r"embedder\.(embedding\.)?convolution|downsample_layers\.0\.0|conv_1_1|layer1?_?0\.conv)"
)
"""Names that first layers are known by, once what they stand in is taken off."""


def named_filters(weights: Weights, layer: str) -> tuple[str, Tensor]:
    """Return the name and the filters of a layer that is asked for.

    Parameters
    ----------
    weights : of the file
    layer : the name of the layer or of its tensor; what stands before it may be left out

    Raises
    ------
    UsageError
        Where there is no such layer.
    FileError
        Where its tensor holds no filters.
    """
    tensors = weights.effective.tensors
    wanted = [layer, *(layer + ending for ending in ENDINGS)]
    found = [name for name in wanted if name in tensors]
    if not found:
        found = [n for n in tensors if any(n.endswith(f".{name}") for name in wanted)]
    found = [n for n in found if tensors[n].ndim == 4] or found
    whole = {f"{_without_wrappers(n)}{n.removeprefix(layer_name(n))}": n for n in found}
    found = [whole[name] for name in wanted if name in whole][:1] or found
    if len(found) > 1:
        raise UsageError(
            f"layer '{layer}' of '{weights.path}' may be {_listed(found, tensors)}; "
            "write the whole name with layer="
        )
    if not found:
        banks = [layer_name(n) for n, t in tensors.items() if t.ndim == 4]
        raise unknown_name(f"layer of '{weights.path}'", layer, banks)
    return _checked(weights, found[0])


def first_filters(weights: Weights, channels: int) -> tuple[str, Tensor]:
    """Return the name and the (k, c, kh, kw) filters that see the image, by names and shapes.

    What the file itself names as ``first_layer`` is taken. Else it is what has the channels of
    the images and is no mask, mean, code, transposed convolution, running average or part of an
    optimizer. Among several, names that first layers are known by (``conv1``, ``stem``,
    ``features.0``, ``patch_embed.proj``) and the order of PyTorch files decide.

    Parameters
    ----------
    weights : of the file
    channels : of the images

    Raises
    ------
    UsageError
        Where it may be one of several; they are listed with their shapes.
    FileError
        Where there are no filters.
    """
    if weights.first_layer is not None:
        return _checked(weights, weights.first_layer)
    tensors = weights.effective.tensors
    if weights.content.unclear:
        banks = [name for name, tensor in tensors.items() if tensor.ndim == 4]
        raise UsageError(
            f"the first layer of '{weights.path}' is not known: {weights.content.unclear}; choose "
            f"with layer= among {_listed(banks, tensors)}"
        )
    if not any(t.ndim == 4 for t in tensors.values()):
        raise FileError(
            f"'{weights.path}' holds no (k, c, kh, kw) filters, expected those of a Conv2d, but "
            f"{_listed(tensors, tensors)}"
        )
    filters = {name: t for name, t in tensors.items() if _is_filters(name, t, tensors)}
    if not filters:
        banks = [name for name, t in tensors.items() if t.ndim == 4]
        raise FileError(
            f"'{weights.path}' holds no filters of a first layer, expected floating-point weights "
            f"(k, c, kh, kw), but {_listed(banks, tensors)}; save the weights that the network "
            "applies, or name one with layer="
        )
    stems = _stems(filters, weights.ordered)
    fitting = [name for name in stems if tensors[name].shape[1] == channels] or stems
    fitting = _preferred(fitting, tensors)
    named = [name for name in fitting if _is_known(name)]
    for chosen in (named, fitting):
        if len(chosen) == 1 or (chosen and weights.ordered and not _copies(chosen)):
            return _checked(weights, chosen[0])
    candidates = fitting or list(filters)
    raise UsageError(
        f"the first layer of '{weights.path}' may be {_listed(candidates, tensors)}; choose with "
        f"layer={layer_name(candidates[0])}"
    )


def scales_of_the_image(weights: Weights, channels: int) -> dict[str, list[float]]:
    """Return the factors of the image's channels that a file names and that differ much.

    These are a number for each channel, such as ``input.scale`` or ``data_bn.weight``, of which
    some change the sign of a channel or are less than half of the largest.

    Parameters
    ----------
    channels : of the images
    """
    found = {}
    for name, tensor in weights.effective.tensors.items():
        words = re.split(r"[._]", name.lower())
        if tensor.numel() == channels > 1 and tensor.is_floating_point() and not tensor.is_meta:
            factors = tensor.double().flatten()
            differ = bool((factors / factors[factors.abs().argmax()] < 0.5).any())
            if differ and words[-1] in FACTORS and IMAGE & set(words[:-1]):
                found[name] = factors.tolist()
    return found


def _checked(weights: Weights, name: str) -> tuple[str, Tensor]:
    """Return filters that are real floating-point numbers, or say what they are."""
    weights.effective.refuse_unknown(name)
    tensor = weights.effective.tensors[name]
    if tensor.ndim != 4 or not _is_real(tensor):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise FileError(
            f"'{name}' in '{weights.path}' is {tuple(tensor.shape)} {kind}, expected "
            "floating-point filters (k, c, kh, kw); save the weights that the network applies"
        )
    return name, tensor


def _is_real(tensor: Tensor) -> bool:
    """Return whether a tensor holds numbers as they are; 8-bit ones need scales, meta ones none."""
    return tensor.is_floating_point() and tensor.element_size() > 1 and not tensor.is_meta


def _is_filters(name: str, tensor: Tensor, tensors: Mapping[str, Tensor]) -> bool:
    if tensor.ndim != 4 or not _is_real(tensor) or tensor.numel() == 0:
        return False
    k, c, kh, kw = tensor.shape
    parts = name.lower().split(".")
    words = set(re.split(r"[._]", name.lower()))
    if (
        k == kh * kw == 1
        or words & NOT_FILTERS
        or any(TURNED.fullmatch(w) for w in words | {*parts})
    ):
        return False
    bias = tensors.get(f"{layer_name(name)}.bias")
    if bias is not None and bias.ndim == 1 and len(bias) == c != k:
        return False  # a transposed convolution has a bias per second axis
    if k == c and (kw >= 4 * kh or kh >= 8):
        return False  # (kh, kw, c, k)
    return not bool(((tensor == 0) | (tensor == 1)).all())  # else a mask


def _stems(filters: Mapping[str, Tensor], ordered: bool) -> list[str]:
    """Return the filters that may see the image, by what else in the file they fit to.

    Filters whose channels no other filters put out see the image, and so do those with 1, 3 or 4
    channels, with two exceptions: where there are such of 3 or 4 channels, filters of one
    channel are depthwise; and a layer whose outputs are seen by earlier layers alone is
    transposed.
    """
    put_out = {t.shape[0] for t in filters.values()}
    stems = [n for n, t in filters.items() if t.shape[1] in (1, 3, 4) or t.shape[1] not in put_out]
    color = [n for n in stems if filters[n].shape[1] != 1 and filters[n].shape[1] not in put_out]
    if color:
        stems = [name for name in stems if filters[name].shape[1] != 1]
    return [name for name in stems if not _stands_last(name, filters, ordered)]


def _stands_last(name: str, filters: Mapping[str, Tensor], ordered: bool) -> bool:
    """Return whether only earlier layers could see the outputs of these filters."""
    k = filters[name].shape[0]
    sees = [n for n, t in filters.items() if n != name and t.shape[1] % k == 0]
    return bool(sees) and all(_stands_before(n, name, filters, ordered) for n in sees)


def _stands_before(one: str, other: str, names: Iterable[str], ordered: bool) -> bool:
    """Return whether a tensor is known to come earlier, by the order or by a number in its name."""
    if ordered:
        order = list(names)
        return order.index(one) < order.index(other)
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            return a.isdigit() and b.isdigit() and int(a) < int(b)
    return False


def _preferred(names: list[str], tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names without running averages and 1x1 filters, where others are there."""
    weights = [n for n in names if not SHADOWS & set(re.split(r"[._]", n.lower()))] or names
    return [n for n in weights if tensors[n].shape[2:] != (1, 1)] or weights


def _is_known(name: str) -> bool:
    return KNOWN.fullmatch(_without_wrappers(name).lower()) is not None


def _without_wrappers(name: str) -> str:
    """Return the name of a layer without the parts before it that it merely stands in."""
    parts = layer_name(name).split(".")
    while len(parts) > 1 and WRAPPERS.fullmatch(parts[0].lower()):
        parts = parts[1:]
    return ".".join(parts)


def _copies(names: list[str]) -> bool:
    """Return whether the same layer stands there more than once, under several prefixes."""
    inner = [layer_name(name).partition(".")[2] for name in names]
    inner = [name for name in inner if name]
    return len(set(inner)) < len(inner)


def layer_name(name: str) -> str:
    """Return the name of the layer that a tensor belongs to."""
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name


def _listed(names: Iterable[str], tensors: Mapping[str, Tensor], most: int = 8) -> str:
    """Return names with shapes, and kinds other than float32."""
    shown = []
    for name in names:
        kind = str(tensors[name].dtype).removeprefix("torch.")
        suffix = "" if tensors[name].dtype == torch.float32 else f" {kind}"
        shown.append(f"{name} {tuple(tensors[name].shape)}{suffix}")
    return first_few(shown, most)
