"""Read the filters of ONNX files, and find the first layer in the graph, without running code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from repsim_energy.errors import FileError, reason_of
from repsim_energy.models.files.file_content import Content, Layout, missing_package
from repsim_energy.models.files.graph_input import GraphInput, Node
from repsim_energy.models.files.onnx_tensors import StoredTensors, attributes, float_types

__all__ = ["is_onnx", "read_onnx"]

UNCHANGING = frozenset(("Identity", "Cast", "CastLike", "Dropout", "Pad"))
"""Operations that do not change the image, apart from its border."""

SCALING = frozenset(("Sub", "Add", "Mul", "Div", "BatchNormalization", "ImageScaler"))
"""Operations that scale or shift the channels of the image if the other operands are constant."""

WEIGHTED = frozenset(
    ("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN")
)
"""Operations that are layers if they have weights."""

MAX_CHANNELS = 4
"""Maximum size of a constant that scales an image channel by channel."""

Axes = tuple[int, ...]
"""The axes (n, c, h, w) of the image, by number, in the order of a transposed tensor."""

IMAGE_AXES = ((0, 1, 2, 3), (0, 3, 1, 2))
"""Axes of the input of a convolution: of images (n, c, h, w), and of (n, h, w, c) transposed."""

QUANTIZED = frozenset(
    (
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "QLinearConv",
        "MatMulInteger",
        "QLinearMatMul",
    )
)
"""Operations of networks quantized to 8 bits."""


def is_onnx(start: bytes) -> bool:
    """Return whether these first bytes of a file are the version field of the ONNX format."""
    return start[:1] == b"\x08" and 0 < int.from_bytes(start[1:2], "little") < 32


def read_onnx(data: bytes, path: Path) -> Content:
    """Return the filters of all convolutions of an ONNX file, and which layer is the first.

    Parameters
    ----------
    data : the bytes of the file
    path : of the file; external data is read in its folder only

    Raises
    ------
    UsageError
        If the package onnx is missing.
    FileError
        If the file is damaged, holds no filters, or names data outside of its folder.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise missing_package(path, "an ONNX file", "onnx", "onnx") from error
    try:
        graph = onnx.load_model_from_string(data).graph
    except (DecodeError, ValueError) as error:
        raise FileError(
            f"'{path}' cannot be read as an ONNX file: truncated, damaged or of another format, "
            "expected an intact one; export it again"
        ) from error
    if not graph.node:
        raise FileError(
            f"'{path}' is an ONNX file without operations, expected a network; export it again"
        )
    try:
        return _Graph(graph, path).content()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileError(
            f"'{path}' is damaged ({reason_of(error)}), expected a valid ONNX file; export it again"
        ) from error


class _Graph:
    """The operations of an ONNX graph, in an order in which inputs precede their uses."""

    def __init__(self, graph: Any, path: Path) -> None:
        self._path = path
        self._nodes = list(graph.node)
        self._tensors = StoredTensors(graph, path)
        self._images = [
            value.name
            for value in graph.input
            if value.name not in self._tensors.by_name and _may_be_image(value.type.tensor_type)
        ]
        self._name_counts = Counter(node.name for node in self._nodes)

    def content(self) -> Content:
        """Return the filters of all convolutions, and which layer is the first."""
        tensors, layouts, names = {}, {}, {}
        for node in self._nodes:
            filters = self._tensors.filters(node.input[1]) if node.op_type == "Conv" else None
            if filters is not None:
                key = self._filters_name(node)
                tensors[key], layouts[key] = filters, _layout(node, len(filters))
                names[self._node_name(node)] = key
        if not tensors:
            quantized = sorted({node.op_type for node in self._nodes} & QUANTIZED)
            why = f"quantized to 8 bits by {', '.join(quantized)}" if quantized else "none at all"
            raise FileError(
                f"'{self._path}' holds no filters of a convolution ({why}), expected "
                "floating-point ones; export the trained network, before any quantization"
            )
        nodes = self._graph_input(names)
        first, problem = nodes.first_layer(tensors)
        return Content(
            tensors,
            True,
            digests=self._tensors.digests,
            graph_format="an ONNX file",
            layouts=layouts,
            first_layer=first,
            problem=problem,
            preprocessing=", ".join(nodes.scalings),
        )

    def _graph_input(self, names: Mapping[str, str]) -> GraphInput:
        """Return the operations that receive the image.

        Parameters
        ----------
        names : operation -> its filters, if they are known
        """
        axes: dict[str, Axes] = dict.fromkeys(self._images, (0, 1, 2, 3))
        found = GraphInput()
        for node in self._nodes:
            given = [axes[name] for name in node.input if name in axes]
            if not given or node.op_type in ("Shape", "Size"):
                continue
            unchanged = _axes_after(node, given[0])
            if unchanged or self._is_scaling(node, axes):
                axes |= dict.fromkeys(node.output, unchanged or given[0])
                found.scalings += [] if unchanged else [node.op_type]
                continue
            is_layer = node.op_type in WEIGHTED and not set(node.input[:2]) <= set(axes)
            name = self._node_name(node)
            if given[0] in IMAGE_AXES:
                nodes = found.layers if is_layer else found.operations
                nodes.append(Node(names.get(name, name), node.op_type))
            else:
                found.operations.append(Node(names.get(name, name), f"transposed {node.op_type}"))
        return found

    def _is_scaling(self, node: Any, image: Collection[str]) -> bool:
        """Return whether an operation scales by constants with at most one number a channel."""
        if node.op_type not in SCALING or (node.op_type == "Div" and node.input[0] not in image):
            return False
        constants = [self._tensors.constant(name) for name in node.input if name not in image]
        shifts = node.op_type in ("Sub", "Add")
        return len(constants) == len(node.input) - 1 and all(
            tensor is not None and (shifts or math.prod(tensor.dims) <= MAX_CHANNELS)
            for tensor in constants
        )

    def _node_name(self, node: Any) -> str:
        """Return the name of an operation, or of its output if the name is not unique."""
        name = node.name if self._name_counts[node.name] == 1 else ""
        return str(name or next(iter(node.output), node.op_type)).replace(".", "_")

    def _filters_name(self, node: Any) -> str:
        """Return the name of the filters' tensor, or of the operation if that is a number."""
        name = str(node.input[1])
        numbered = "::" in name or name.isdigit() or name not in self._tensors.by_name
        return self._node_name(node) if numbered else name


def _axes_after(node: Any, axes: Axes) -> Axes | None:
    """Return the axes after an operation that at most transposes the image, else ``None``."""
    given = attributes(node)
    if node.op_type == "Transpose" and sorted(given.get("perm", ())) == [0, 1, 2, 3]:
        return tuple(axes[old] for old in given["perm"])
    to_integers = node.op_type == "Cast" and given.get("to") not in float_types()
    return axes if node.op_type in UNCHANGING and not to_integers else None


def _may_be_image(kind: Any) -> bool:
    return not kind.HasField("shape") or len(kind.shape.dim) == 4


def _layout(node: Any, filters: int) -> Layout:
    given = attributes(node)
    rows, columns = given.get("dilations", (1, 1))
    return Layout(int(given.get("group", 1)), (int(rows), int(columns))).checked(filters)
