"""Which layers of a Keras network get the image, by its configuration alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repsim_energy.models.files.file_content import Reached

__all__ = ["Layer", "layers_of", "reached"]

MODELS = frozenset(("Sequential", "Functional", "Model"))
"""Classes whose configurations say how their layers are connected."""

GROUPS = {
    "Conv2D": "conv2d",
    "Convolution2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "Sequential": "sequential",
    "Functional": "functional",
    "Model": "functional",
}
"""Class -> what Keras calls the groups of its layers in a file."""

SAME = frozenset(
    ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
     "ActivityRegularization", "ZeroPadding2D", "Cropping2D", "CenterCrop", "Identity",
     "RandomCrop", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation",
     "RandomContrast", "RandomBrightness", "RandomShear", "RandomColorJitter")
)  # fmt: skip
"""Layers behind which the image is the same to a trained network, edges aside."""

SCALES = frozenset(("Rescaling", "Normalization", "BatchNormalization"))
"""Layers that scale the channels of the image."""

ARITHMETIC = frozenset(("truediv", "truedivide", "divide", "multiply", "subtract", "add"))
"""Operations that scale the image where the other side is a number."""

LIGHT = frozenset(
    ("Activation", "ReLU", "Flatten", "Reshape", "Permute", "Add", "Subtract", "Multiply",
     "Average", "Maximum", "Concatenate", "Lambda", "Resizing", "UpSampling2D", "MaxPooling2D",
     "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "TFOpLambda",
     "SlicingOpLambda", "GetItem", "TrueDivide", "Divide")
)  # fmt: skip
"""Layers without weights, behind which the image is another."""


@dataclass(frozen=True)
class Layer:
    """A layer in a network, maybe in a network within it.

    Parameters
    ----------
    path : the names of the networks that it stands in, below the outermost, and its own
    numbered : for each of them its class, as the groups of a file are called by it, and how many
        of that class come before it
    kind : the class; that of the user's own classes has their module before it
    """

    path: tuple[str, ...]
    numbered: tuple[tuple[str, int], ...]
    kind: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name in messages and results, such as ``resnet50.conv1``."""
        return ".".join(part.replace(".", "_") for part in self.path)


def layers_of(model: Any) -> list[Layer]:
    """Return all layers of a network and of those within it; none of a class of the user's own."""
    return list(_layers(model, (), ())) if _is_model(model) else []


def _layers(
    model: Mapping[str, Any], path: tuple[str, ...], numbered: tuple[tuple[str, int], ...]
) -> Iterator[Layer]:
    before: Counter[str] = Counter()
    for entry in _entries(model):
        kind = _kind(entry)
        place = (*path, _name(entry))
        group = GROUPS.get(str(entry.get("class_name")), kind)
        count = (*numbered, (group, before[group]))
        before[group] += 1
        if _is_model(entry):
            yield from _layers(entry, place, count)
        else:
            yield Layer(place, count, kind, entry.get("config", {}))


def reached(
    model: Mapping[str, Any], path: tuple[str, ...] = ()
) -> tuple[list[Reached], list[Reached], list[str]]:
    """Return the layers that get the image, those without weights, and what scales it before."""
    layers, others, scaled, _ = _walk(model, path)
    return layers, others, scaled


def _walk(
    model: Mapping[str, Any], path: tuple[str, ...]
) -> tuple[list[Reached], list[Reached], list[str], bool]:
    """Return what :func:`reached` does, and whether the network gives the image back."""
    image: set[str] = set()
    layers, others, scaled = [], [], []
    entries = _entries(model)
    before = _sources(model, entries)
    waiting = dict(enumerate(entries))
    while ready := [n for n in waiting if _gets_image(waiting[n], before[n], image)]:
        for number in ready:
            entry = waiting.pop(number)
            kind, name = _kind(entry), _name(entry)
            if _is_model(entry):
                inner = _walk(entry, (*path, name))
                layers += inner[0]
                others += inner[1]
                scaled += inner[2]
                image |= {name} if inner[3] else set()
            elif kind == "InputLayer" or kind in SAME or _is_linear(entry):
                image.add(name)
            elif kind in SCALES or _is_arithmetic(entry):
                image.add(name)
                scaled.append(kind)
            else:
                shown = ".".join(part.replace(".", "_") for part in (*path, name))
                (others if kind in LIGHT else layers).append(Reached(shown, kind))
    last = {_name(entries[-1])} if _kind(model) == "Sequential" else _ends(model)
    return layers, others, scaled, bool(last & image)


def _gets_image(entry: Mapping[str, Any], before: Sequence[str] | None, image: set[str]) -> bool:
    """Return whether a layer gets the image; ``before`` is None where it is an input."""
    if before is None:
        shape = entry.get("config", {}).get("batch_shape") or entry.get("config", {}).get(
            "batch_input_shape"
        )
        return _kind(entry) != "InputLayer" or not shape or len(shape) == 4
    return bool(image & set(before))


def _sources(
    model: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> list[list[str] | None]:
    """Return the names of the layers before each layer; None for inputs."""
    if _kind(model) == "Sequential":
        return [None, *([_name(entry)] for entry in entries[:-1])]
    return [
        None if _kind(entry) == "InputLayer" else list(_histories(entry.get("inbound_nodes", [])))
        for entry in entries
    ]


def _histories(value: Any) -> Iterator[str]:
    """Give the names in ``[name, node, tensor]`` and ``keras_history``, however deep they stand."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _histories(inner)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
            yield value[0]
        for inner in value:
            yield from _histories(inner)


def _ends(model: Mapping[str, Any]) -> set[str]:
    return set(_histories([model.get("config", {}).get("output_layers", [])]))


def _is_linear(entry: Mapping[str, Any]) -> bool:
    config = entry.get("config", {})
    return _kind(entry) == "Activation" and config.get("activation") == "linear"


def _is_arithmetic(entry: Mapping[str, Any]) -> bool:
    """Return whether a layer divides, multiplies or shifts what it gets by a number."""
    config = entry.get("config", {})
    operation = config.get("function", "") if _kind(entry) == "TFOpLambda" else _kind(entry)
    node = next(iter(entry.get("inbound_nodes") or ()), None)
    if isinstance(node, Mapping):  # Keras 3
        image, other = [*node.get("args", ()), None, None][:2]
        number = other if isinstance(image, Mapping) else None
    else:  # Keras 2
        last = node[-1] if isinstance(node, list) and node else None
        number = last.get("y") if isinstance(last, Mapping) else None
    known = str(operation).rpartition(".")[2].lower() in ARITHMETIC
    return known and isinstance(number, int | float)


def _is_model(entry: Any) -> bool:
    return isinstance(entry, Mapping) and _kind(entry) in MODELS and bool(_entries(entry))


def _entries(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    config = model.get("config", {})
    layers = config.get("layers") if isinstance(config, Mapping) else config
    return (
        []
        if not isinstance(layers, list)
        else [entry for entry in layers if isinstance(entry, Mapping)]
    )


def _kind(entry: Mapping[str, Any]) -> str:
    """Return the class of a layer, with its module where that is none of Keras."""
    module, name = entry.get("module"), str(entry.get("class_name", ""))
    name = "Conv2D" if name == "Convolution2D" else name
    if module is None:
        own = entry.get("registered_name")
        return f"{own}" if own else name
    ours = str(module).partition(".")[0] in ("keras", "tf_keras", "tensorflow")
    return name if ours else f"{module}.{name}"


def _name(entry: Mapping[str, Any]) -> str:
    config = entry.get("config", {})
    own = config.get("name") if isinstance(config, Mapping) else None
    return str(own or entry.get("name") or entry.get("class_name", ""))
