"""Filters of ONNX files, and which of them get the image by the graph; nothing is executed."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsim_energy.errors import FileError, reason_of
from repsim_energy.models.files.file_content import (
    Content,
    Layout,
    Reached,
    first_of,
    missing_package,
)

__all__ = ["is_onnx", "read_onnx"]

SAME = frozenset(("Identity", "Cast", "CastLike", "Dropout", "Pad"))
"""Operations behind which the image is the same to a layer that does not mind its edges."""

SCALES = frozenset(("Sub", "Add", "Mul", "Div", "BatchNormalization", "ImageScaler"))
"""Operations that scale the channels of the image, where what they scale by is constant."""

WEIGHTED = frozenset(
    ("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN")
)
"""Operations that are layers where they have weights."""

MOST_CHANNELS = 4
"""Numbers that scale an image channel by channel."""

Axes = tuple[int, ...]

UPRIGHT = ((0, 1, 2, 3), (0, 3, 1, 2))
"""Axes of what a convolution gets: of images (n, c, h, w), and of (n, h, w, c) turned to that."""

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
"""Operations of networks that compute with whole numbers of 8 bits."""


def is_onnx(start: bytes) -> bool:
    """Return whether a file that begins so may be ONNX: with the version of its format."""
    return start[:1] == b"\x08" and 0 < int.from_bytes(start[1:2], "little") < 32


def read_onnx(data: bytes, path: Path) -> Content:
    """Return the filters of all convolutions of an ONNX file, and which gets the image.

    Parameters
    ----------
    data : the content of the file
    path : where it lies; external data is read in that folder alone

    Raises
    ------
    UsageError
        Where the package onnx is missing.
    FileError
        For a file that is damaged, holds no filters, or names data outside its folder.
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
            f"'{path}' cannot be read as an ONNX file: truncated, damaged or of another kind; "
            "export it again"
        ) from error
    if not graph.node:
        raise FileError(
            f"'{path}' cannot be read as an ONNX file: it has no operations; export it again"
        )
    try:
        return _Graph(graph, path).content()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileError(
            f"'{path}' is damaged, or no valid ONNX file ({reason_of(error)}); export it again"
        ) from error


class _Graph:
    """The operations of a graph by the names of what they take and give."""

    def __init__(self, graph: Any, path: Path) -> None:
        self.nodes = list(graph.node)
        self.path = path
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.images = [
            value.name
            for value in graph.input
            if value.name not in self.stored and _may_be_image(value.type.tensor_type)
        ]
        self.digests: dict[str, str] = {}
        self.named = Counter(node.name for node in self.nodes)

    def content(self) -> Content:
        """Return what a checkpoint needs to know of the file."""
        tensors, layouts, names = {}, {}, {}
        for node in self.nodes:
            filters = self._filters(node) if node.op_type == "Conv" else None
            if filters is not None:
                key = self._key(node)
                tensors[key], layouts[key] = filters, _layout(node, len(filters))
                names[self._name(node)] = key
        if not tensors:
            eight = sorted({node.op_type for node in self.nodes} & QUANTIZED)
            why = f"it computes in 8 bits ({', '.join(eight)})" if eight else "it has none"
            raise FileError(
                f"'{self.path}' holds no filters of a convolution that are floating-point numbers: "
                f"{why}; export the network that was trained, in floating point"
            )
        layers, others, scaled = self._reached(names)
        first, unclear = first_of(layers, others, tensors)
        return Content(
            tensors,
            True,
            digests=self.digests,
            graph="an ONNX file",
            layouts=layouts,
            first=first,
            unclear=unclear,
            note=f"the graph scales the image first ({', '.join(scaled)})" if scaled else "",
        )

    def _reached(self, names: Mapping[str, str]) -> tuple[list[Reached], list[Reached], list[str]]:
        """Return the layers and the operations that get the image, and what scales it before.

        Parameters
        ----------
        names : operation -> its filters, where they are known
        """
        axes: dict[str, Axes] = dict.fromkeys(self.images, (0, 1, 2, 3))  # of the image, wherever
        layers: list[Reached] = []
        others: list[Reached] = []
        scaled: list[str] = []
        for node in self.nodes:  # in an order in which all inputs are there
            given = [axes[name] for name in node.input if name in axes]
            if not given or node.op_type in ("Shape", "Size"):
                continue
            turned = self._turned(node, given[0])
            if turned or self._scales(node, axes):
                axes |= dict.fromkeys(node.output, turned or given[0])
                scaled += [] if turned else [node.op_type]
            else:
                layer = node.op_type in WEIGHTED and not set(node.input[:2]) <= set(axes)
                name = self._name(node)
                upright = given[0] in UPRIGHT
                found = Reached(
                    names.get(name, name), node.op_type if upright else f"turned {node.op_type}"
                )
                (layers if layer and upright else others).append(found)
        return layers, others, scaled

    def _turned(self, node: Any, axes: Axes) -> Axes | None:
        """Return the axes of the image behind an operation that changes nothing else of it."""
        given = _attributes(node)
        if node.op_type == "Transpose" and sorted(given.get("perm", ())) == [0, 1, 2, 3]:
            return tuple(axes[old] for old in given["perm"])
        whole = node.op_type == "Cast" and given.get("to") not in _floats()
        return axes if node.op_type in SAME and not whole else None

    def _scales(self, node: Any, image: Collection[str]) -> bool:
        """Return whether an operation scales by constants of at most one number a channel."""
        if node.op_type not in SCALES or (node.op_type == "Div" and node.input[0] not in image):
            return False
        constants = [self._constant(name) for name in node.input if name not in image]
        shifts = node.op_type in ("Sub", "Add")
        return len(constants) == len(node.input) - 1 and all(
            tensor is not None and (shifts or math.prod(tensor.dims) <= MOST_CHANNELS)
            for tensor in constants
        )

    def _constant(self, name: str) -> Any:
        """Return the stored tensor of a name, through Identity and Cast, or nothing."""
        while name not in self.stored:
            node = self.makers.get(name)
            if node is None:
                return None
            if node.op_type == "Constant":
                return _attributes(node).get("value")
            if node.op_type not in ("Identity", "Cast"):
                return None
            name = node.input[0]
        return self.stored[name]

    def _name(self, node: Any) -> str:
        """Return what to call an operation: its name, unless that is not its alone."""
        name = node.name if self.named[node.name] == 1 else ""
        return str(name or next(iter(node.output), node.op_type)).replace(".", "_")

    def _key(self, node: Any) -> str:
        """Return the name of the filters: that of the tensor, unless an exporter numbered it."""
        name = str(node.input[1])
        return (
            self._name(node) if "::" in name or name.isdigit() or name not in self.stored else name
        )

    def _filters(self, node: Any) -> torch.Tensor | None:
        """Return the floating-point filters of a convolution of images, or nothing."""
        from onnx import TensorProto

        tensor = self._constant(node.input[1])
        if tensor is None or len(tensor.dims) != 4 or tensor.data_type not in _floats():
            return None
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor = self._with_data(tensor)
        from onnx.numpy_helper import to_array

        array = to_array(tensor)
        wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        return torch.from_numpy(np.array(wide))

    def _with_data(self, tensor: Any) -> Any:
        """Return a tensor with what stands in another file, in the folder of this one."""
        from onnx import TensorProto
        from onnx.helper import tensor_dtype_to_np_dtype

        said = {entry.key: entry.value for entry in tensor.external_data}
        place = self._beside(said.get("location", ""))
        offset = int(said.get("offset", 0))
        width = (
            2
            if tensor.data_type == TensorProto.BFLOAT16
            else (tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
        )
        size = math.prod(tensor.dims) * width
        with place.open("rb") as file:
            file.seek(max(offset, 0))
            data = file.read(size)
            name = str(place.relative_to(self.path.parent.resolve()))
            if name not in self.digests:
                file.seek(0)
                self.digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        if len(data) != size or int(said.get("length", size)) != size or offset < 0:
            raise FileError(
                f"'{place}' holds {len(data)} bytes of '{tensor.name}' from {offset} on, expected "
                f"{size}: truncated or of another network; download or export both files again"
            )
        whole = TensorProto()
        whole.CopyFrom(tensor)
        whole.ClearField("external_data")
        whole.data_location = TensorProto.DEFAULT
        whole.raw_data = data
        return whole

    def _beside(self, location: str) -> Path:
        """Return the file of external data; none that lies outside the folder."""
        folder = self.path.parent.resolve()
        given = Path(location.replace("\\", "/"))
        place = (folder / given).resolve()
        outside = given.is_absolute() or ".." in given.parts or ":" in str(given)
        if not given.parts or outside:
            raise FileError(
                f"'{self.path}' names '{location}' as its data, expected a file in its own folder; "
                "export it again"
            )
        if not place.is_relative_to(folder):
            raise FileError(
                f"'{folder / given}', the data of '{self.path}', is a link to '{place}', expected "
                "a file in the same folder; copy both files into one"
            )
        if not place.is_file():
            raise FileError(
                f"'{folder / given}', the data of '{self.path}', is missing; put it there"
            )
        return place


def _floats() -> tuple[int, ...]:
    from onnx import TensorProto

    return (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def _may_be_image(kind: Any) -> bool:
    return not kind.HasField("shape") or len(kind.shape.dim) == 4


def _attributes(node: Any) -> Mapping[str, Any]:
    from onnx.helper import get_attribute_value

    return {one.name: get_attribute_value(one) for one in node.attribute}


def _layout(node: Any, outputs: int) -> Layout:
    given = _attributes(node)
    rows, columns = given.get("dilations", (1, 1))
    return Layout(int(given.get("group", 1)), (int(rows), int(columns))).checked(outputs)
