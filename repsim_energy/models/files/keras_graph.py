"""Find the layers of a Keras network that receive the image, in its configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repsim_energy.models.files.graph_input import GraphInput, Node

__all__ = ["Layer", "graph_input", "list_layers"]

MODELS = frozenset(("Sequential", "Functional", "Model"))
"""Classes whose configurations hold the connections of their layers."""

HDF5_GROUPS = {
    "Conv2D": "conv2d",
    "Convolution2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "Sequential": "sequential",
    "Functional": "functional",
    "Model": "functional",
}
"""Class -> name that Keras gives its groups in an HDF5 file."""

UNCHANGING = frozenset(
    ("Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
     "ActivityRegularization", "ZeroPadding2D", "Cropping2D", "CenterCrop", "Identity",
     "RandomCrop", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation",
     "RandomContrast", "RandomBrightness", "RandomShear", "RandomColorJitter")
)  # fmt: skip
"""Layers that do not change the image in evaluation mode, apart from its border."""

SCALING = frozenset(("Rescaling", "Normalization", "BatchNormalization"))
"""Layers that scale the channels of the image."""

ARITHMETIC = frozenset(("truediv", "truedivide", "divide", "multiply", "subtract", "add"))
"""Operations that scale or shift the image if the other operand is a number."""

WITHOUT_WEIGHTS = frozenset(
    ("Activation", "ReLU", "Flatten", "Reshape", "Permute", "Add", "Subtract", "Multiply",
     "Average", "Maximum", "Concatenate", "Lambda", "Resizing", "UpSampling2D", "MaxPooling2D",
     "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "TFOpLambda",
     "SlicingOpLambda", "GetItem", "TrueDivide", "Divide")
)  # fmt: skip
"""Layers without weights after which there is no image any more."""


@dataclass(frozen=True)
class Layer:
    """A layer of a network or of a network nested in it.

    Parameters
    ----------
    path : names of the nested networks that contain it, and its own name
    indices : for each of these the name of its class in HDF5 files, and how many of that class
        precede it
    kind : the class, with its module if it is not of Keras
    """

    path: tuple[str, ...]
    indices: tuple[tuple[str, int], ...]
    kind: str
    config: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name in errors and results, such as ``resnet50.conv1``."""
        return ".".join(part.replace(".", "_") for part in self.path)


def list_layers(model: Any) -> list[Layer]:
    """Return all layers of a network and of nested ones, none for a class of the user."""
    return list(_layers(model, (), ())) if _is_model(model) else []


def _layers(
    model: Mapping[str, Any], path: tuple[str, ...], indices: tuple[tuple[str, int], ...]
) -> Iterator[Layer]:
    counts: Counter[str] = Counter()
    for entry in _entries(model):
        kind = _kind(entry)
        names = (*path, _name(entry))
        group = HDF5_GROUPS.get(str(entry.get("class_name")), kind)
        index = (*indices, (group, counts[group]))
        counts[group] += 1
        if _is_model(entry):
            yield from _layers(entry, names, index)
        else:
            yield Layer(names, index, kind, entry.get("config", {}))


def graph_input(model: Mapping[str, Any]) -> GraphInput:
    """Return the layers of a network and of nested ones that receive the image."""
    found = GraphInput()
    _walk(model, (), found)
    return found


def _walk(model: Mapping[str, Any], path: tuple[str, ...], found: GraphInput) -> bool:
    """Add the layers that receive the image, and return whether the output still is the image."""
    image: set[str] = set()
    entries = _entries(model)
    sources = _sources(model, entries)
    waiting = dict(enumerate(entries))
    while ready := [n for n in waiting if _receives_image(waiting[n], sources[n], image)]:
        for number in ready:
            entry = waiting.pop(number)
            kind, name = _kind(entry), _name(entry)
            if _is_model(entry):
                image |= {name} if _walk(entry, (*path, name), found) else set()
            elif kind == "InputLayer" or kind in UNCHANGING or _is_linear(entry):
                image.add(name)
            elif kind in SCALING or _is_arithmetic(entry):
                image.add(name)
                found.scalings.append(kind)
            else:
                dotted = ".".join(part.replace(".", "_") for part in (*path, name))
                nodes = found.operations if kind in WITHOUT_WEIGHTS else found.layers
                nodes.append(Node(dotted, kind))
    last = {_name(entries[-1])} if _kind(model) == "Sequential" else _ends(model)
    return bool(last & image)


def _receives_image(
    entry: Mapping[str, Any], sources: Sequence[str] | None, image: set[str]
) -> bool:
    """Return whether a layer receives the image.

    Parameters
    ----------
    sources : the layers before it; ``None`` for an input
    image : layers whose output is the image
    """
    if sources is None:
        shape = entry.get("config", {}).get("batch_shape") or entry.get("config", {}).get(
            "batch_input_shape"
        )
        return _kind(entry) != "InputLayer" or not shape or len(shape) == 4
    return bool(image & set(sources))


def _sources(
    model: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> list[list[str] | None]:
    """Return the names of the layers before each layer, ``None`` for an input."""
    if _kind(model) == "Sequential":
        return [None, *([_name(entry)] for entry in entries[:-1])]
    return [
        None if _kind(entry) == "InputLayer" else list(_histories(entry.get("inbound_nodes", [])))
        for entry in entries
    ]


def _histories(value: Any) -> Iterator[str]:
    """Yield the names in ``[name, node, tensor]`` and ``keras_history`` at any depth."""
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
    """Return whether a layer multiplies its input by a number or adds one."""
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
    """Return the class of a layer, with its module if it is not of Keras."""
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
