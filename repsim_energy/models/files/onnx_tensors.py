"""Tensors that an ONNX graph stores, in the file itself or in others in its folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repsim_energy.errors import FileError
from repsim_energy.files.plain_names import path_beside
from repsim_energy.interfaces.hashing import file_digest

__all__ = ["StoredTensors", "attributes", "float_types"]


class StoredTensors:
    """The constant tensors of a graph.

    Parameters
    ----------
    graph : a GraphProto
    path : of its file; external data is read in the folder of the file only

    Attributes
    ----------
    digests : name -> SHA-256 of each file of external data that was read
    """

    def __init__(self, graph: Any, path: Path) -> None:
        self.by_name = {tensor.name: tensor for tensor in graph.initializer}
        self.digests: dict[str, str] = {}
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._path = path

    def constant(self, name: str) -> Any:
        """Return the TensorProto of a value, also after Identity and Cast, or ``None``."""
        seen: set[str] = set()
        while name not in self.by_name:
            if name in seen:
                raise ValueError(f"'{name}' is computed from itself")
            seen.add(name)
            node = self._makers.get(name)
            if node is None:
                return None
            if node.op_type == "Constant":
                return attributes(node).get("value")
            if node.op_type not in ("Identity", "Cast"):
                return None
            name = node.input[0]
        return self.by_name[name]

    def filters(self, name: str) -> torch.Tensor | None:
        """Return a floating-point constant with four axes as float32 or float64, or ``None``."""
        from onnx import TensorProto
        from onnx.numpy_helper import to_array

        tensor = self.constant(name)
        if tensor is None or len(tensor.dims) != 4 or tensor.data_type not in float_types():
            return None
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor = self._load_external(tensor)
        array = to_array(tensor)
        wide = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
        return torch.from_numpy(np.array(wide))

    def _load_external(self, tensor: Any) -> Any:
        """Return a copy of a TensorProto that holds its external data.

        Raises
        ------
        FileError
            If the data is missing, cut off, or outside of the folder.
        """
        from onnx import TensorProto
        from onnx.helper import tensor_dtype_to_np_dtype

        entries = {entry.key: entry.value for entry in tensor.external_data}
        file_path = self._external_path(entries.get("location", ""))
        offset = int(entries.get("offset", 0))
        is_bfloat16 = tensor.data_type == TensorProto.BFLOAT16
        width = 2 if is_bfloat16 else tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        size = math.prod(tensor.dims) * width
        there = max(file_path.stat().st_size - offset, 0)
        with file_path.open("rb") as file:
            file.seek(offset if offset >= 0 and there else 0)
            data = file.read(min(size, there))
            name = str(file_path.relative_to(self._path.parent.resolve()))
            if name not in self.digests:
                self.digests[name] = file_digest(file, name)
        if (
            min(tensor.dims) < 1
            or len(data) != size
            or int(entries.get("length", size)) != size
            or offset < 0
        ):
            raise FileError(
                f"'{file_path}' holds {len(data)} bytes of '{tensor.name}' from {offset} on, "
                f"expected {size}: truncated or of another network; download or export both files "
                "again"
            )
        loaded = TensorProto()
        loaded.CopyFrom(tensor)
        loaded.ClearField("external_data")
        loaded.data_location = TensorProto.DEFAULT
        loaded.raw_data = data
        return loaded

    def _external_path(self, location: str) -> Path:
        """Return the path of a file of external data, which has to be in the same folder."""
        given = path_beside(self._path, location, subfolders=True)
        folder, resolved = self._path.parent.resolve(), given.resolve()
        if not resolved.is_relative_to(folder):
            raise FileError(
                f"'{given}', the data of '{self._path}', is a link to '{resolved}', expected a "
                "file in the same folder; copy both files into one"
            )
        if not resolved.is_file():
            raise FileError(f"'{given}', the data of '{self._path}', is missing; put it there")
        return resolved


def float_types() -> tuple[int, ...]:
    """Return the floating-point types of ONNX tensors."""
    from onnx import TensorProto

    return (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def attributes(node: Any) -> Mapping[str, Any]:
    """Return the attributes of a NodeProto by name."""
    from onnx.helper import get_attribute_value

    return {one.name: get_attribute_value(one) for one in node.attribute}
