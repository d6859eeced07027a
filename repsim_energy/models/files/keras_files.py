"""Read the filters of Keras files (``.keras``, ``.h5``, ``.weights.h5``) without running code.

Kernels are (h, w, in, out) for every ``data_format``, and are transposed to (out, in, h, w).

Keras writes two layouts. That of ``saving_lib.py`` names groups by class, such as
``layers/conv2d_1/vars/0``, numbered in the order of the configuration. That of
``legacy_h5_format.py`` has a group for each layer, with the names of its weights as an attribute.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from repsim_energy.errors import FileError, reason_of
from repsim_energy.files.hdf5 import refuse_other_files
from repsim_energy.models.files.file_content import Content, Layout, missing_package
from repsim_energy.models.files.hdf5_arrays import stored_values
from repsim_energy.models.files.keras_graph import Layer, graph_input, list_layers

__all__ = ["is_keras_archive", "read_keras"]

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
"""Members of a ``.keras`` archive."""

KERNEL_NAME = re.compile(r"(?P<before>(?:.*/)?)(?:kernel|(?P<layer>\w+)_W(?P<number>_\d+)?)")
"""Names of kernels in the legacy layout; those with a W are of files from Keras 1."""

OTHER_GROUPS = re.compile(r"(.*/)?(depthwise_conv2d|separable_conv2d|conv2d_transpose)(_\d+)?")
"""Groups of other layers with kernels of four axes."""


def is_keras_archive(file: IO[bytes]) -> bool:
    """Return whether a file is a ``.keras`` file, which is a zip archive."""
    file.seek(0)
    return file.read(2) == b"PK" and WEIGHTS in zipfile.ZipFile(file).namelist()


def read_keras(file: IO[bytes], path: Path) -> Content:
    """Return the filters of all convolutions of a Keras file, and which layer is the first.

    Parameters
    ----------
    file : open for reading, HDF5 or a ``.keras`` archive
    path : of the file, for errors

    Raises
    ------
    UsageError
        If the package h5py is missing.
    FileError
        If the file is damaged, holds no filters, or has parts in other files.
    """
    import netCDF4  # noqa: F401 (first: old versions of h5py keep it from writing)

    try:
        import h5py
    except ImportError as error:
        raise missing_package(path, "a Keras file", "h5py", "keras") from error
    config: bytes | str | None = None
    if is_keras_archive(file):
        archive = zipfile.ZipFile(file)
        config = archive.read(CONFIG) if CONFIG in archive.namelist() else None
        file = io.BytesIO(archive.read(WEIGHTS))
    file.seek(0)
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read as HDF5: truncated or damaged, expected an intact file; "
            "download or save it again"
        ) from error
    with opened as root:
        refuse_other_files(root, path)
        config = config or _attribute(root, "model_config")
        try:
            return _KerasFile(root, path, _parse_config(config, path)).content()
        except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
            raise FileError(
                f"'{path}' is damaged ({reason_of(error)}), expected a file as Keras writes it; "
                "save it again"
            ) from error


def _parse_config(config: Any, path: Path) -> Any:
    if config is None:
        return None
    try:
        return json.loads(config)
    except ValueError as error:
        raise FileError(
            f"'{path}' has a configuration that is not JSON, expected one as Keras writes it; "
            "download or save it again"
        ) from error


class _KerasFile:
    """An open HDF5 file of a Keras model.

    Parameters
    ----------
    root : the open file
    path : for errors
    model : configuration of the model, ``None`` if the file has none
    """

    def __init__(self, root: Any, path: Path, model: Any) -> None:
        self.path = path
        self.model = model
        self.root = root.get("model_weights", root)
        self.legacy = "layer_names" in self.root.attrs or "layer_names0" in self.root.attrs
        self.flipped = _attribute(self.root, "backend") == "theano"
        if (_attribute(self.root, "keras_version") or "").startswith(("0.", "1.")):
            raise FileError(
                f"'{path}' was saved by Keras 1, whose kernels have several layouts, expected "
                "Keras 2 or newer; save it again"
            )

    def content(self) -> Content:
        """Return the filters and, if there is a configuration, the first layer."""
        layers = list_layers(self.model)
        if not layers:  # no configuration, or a class of the user, whose code connects the layers
            found = dict(self._legacy_kernels() if self.legacy else self._kernels())
            self._check_any(found)
            return Content(found, self.legacy, graph_format="a Keras file")
        tensors, layouts, names = {}, {}, {}
        for layer in layers:
            if layer.kind in ("Conv2D", "DepthwiseConv2D"):
                stored = self._kernel_of(layer)
                key = f"{layer.name}.kernel"
                tensors[key], layouts[key] = self._to_filters(stored, layer), _layout(stored, layer)
                names[layer.name] = key
        self._check_any(tensors)
        nodes = graph_input(self.model)
        first, problem = nodes.first_layer(names)
        return Content(
            tensors,
            True,
            graph_format="a Keras file",
            layouts=layouts,
            first_layer=names.get(first, ""),
            problem=problem,
            preprocessing=", ".join(nodes.scalings),
        )

    def _check_any(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if not tensors:
            raise FileError(
                f"'{self.path}' holds no kernels of convolutions, expected a model with a Conv2D "
                "layer, or its weights; save the whole model"
            )

    def _kernel_of(self, layer: Layer) -> Any:
        """Return the array of a layer's kernel, of the size in the configuration."""
        key = self._legacy_key(layer) if self.legacy else self._key(layer)
        kernel = self.root.get(key) if key else None
        size = tuple(layer.config.get("kernel_size") or ())
        if kernel is None or kernel.ndim != 4 or tuple(kernel.shape[:2]) != size:
            got = "none" if kernel is None else str(tuple(kernel.shape))
            raise FileError(
                f"'{self.path}' has as kernel of layer '{layer.name}' {got}, expected one of size "
                f"{size}; save it again, or pass the filters in Python"
            )
        return kernel

    def _legacy_key(self, layer: Layer) -> str | None:
        """Return the key of a kernel, which is in the group of the outermost nested model."""
        group = layer.path[0]
        if group not in self.root:
            return None
        own, kernels = layer.path[-1], ("kernel", "depthwise_kernel")
        found = []
        for name in _attributes(self.root[group], "weight_names"):
            *parts, last = name.partition(":")[0].split("/")
            if last in kernels and (parts[-1:] == [own] or (not parts and group == own)):
                found.append(name)
        return f"{group}/{found[0]}" if len(found) == 1 else None

    def _key(self, layer: Layer) -> str | None:
        """Return the key of a kernel, from the position of the layer among those of its class."""
        steps = [group + (f"_{n}" if n else "") for group, n in layer.indices]
        for container in ("layers", "_layer_checkpoint_dependencies"):
            key = "/".join(f"{container}/{step}" for step in steps) + "/vars"
            if key in self.root:
                name = _attribute(self.root[key], "name")
                return f"{key}/0" if name in (None, layer.path[-1]) else None
        return None

    def _to_filters(self, stored: Any, layer: Layer) -> torch.Tensor:
        """Return the (k, c, h, w) filters of a kernel (h, w, c, k).

        A depthwise kernel (h, w, c, m) becomes (c m, 1, h, w).
        """
        kernel = stored_values(stored, self.path)
        if kernel.dtype.kind != "f":
            raise FileError(
                f"the kernel of layer '{layer.name}' in '{self.path}' is {kernel.dtype}, expected "
                "floating-point numbers; save the network before it was quantized"
            )
        if layer.kind == "DepthwiseConv2D":
            h, w, c, each = kernel.shape
            kernel = kernel.reshape(h, w, 1, c * each)
        return _transpose(kernel, self.flipped)

    def _legacy_kernels(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield all kernels of a file without a configuration, by the names of weights."""
        for layer in _attributes(self.root, "layer_names"):
            for name in _attributes(self.root[layer], "weight_names"):
                named = KERNEL_NAME.fullmatch(name.partition(":")[0])
                if named is None:
                    continue
                stored, bias = self.root[layer][name], self.root[layer].get(_bias_name(named, name))
                ambiguous = bias is None or stored.shape[:1] == bias.shape
                if _may_be_kernel(stored, bias) and not (named["layer"] and ambiguous):
                    parts = named["before"].split("/")[:-1]
                    inner = parts[parts.index(layer) + 1 :] if layer in parts else parts
                    key = ".".join([layer, *inner, "kernel"])
                    yield key, _transpose(stored_values(stored, self.path), self.flipped)

    def _kernels(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield all kernels of a file without a configuration, by the names of groups."""
        keys: list[str] = []
        self.root.visit(keys.append)
        for key in keys:
            group, _, rest = key.partition("/vars/")
            if rest != "0" or OTHER_GROUPS.fullmatch(group) or group.startswith("optimizer"):
                continue
            if _may_be_kernel(self.root[key], self.root.get(f"{group}/vars/1")):
                parts = [part for part in group.split("/") if part != "layers"]
                yield (
                    ".".join([*parts, "kernel"]),
                    _transpose(stored_values(self.root[key], self.path), False),
                )


def _bias_name(kernel: re.Match[str], name: str) -> str:
    """Return the name of a layer's bias from that of its kernel."""
    bias = f"{kernel['layer']}_b{kernel['number'] or ''}" if kernel["layer"] else "bias"
    return kernel["before"] + bias + name[kernel.end() :]


def _may_be_kernel(stored: Any, bias: Any) -> bool:
    """Return whether an array can be the kernel of a convolution with this bias."""
    fits = bias is None or tuple(bias.shape) == tuple(stored.shape[-1:])
    return fits and stored.ndim == 4 and stored.dtype.kind == "f"


def _transpose(kernel: np.ndarray[Any, Any], flipped: bool) -> torch.Tensor:
    """Return (k, c, h, w) filters, float32 or float64, of a (h, w, c, k) kernel."""
    filters = (kernel[::-1, ::-1] if flipped else kernel).transpose(3, 2, 0, 1)
    wide = filters if filters.dtype in (np.float32, np.float64) else filters.astype(np.float32)
    return torch.from_numpy(np.array(wide, dtype=wide.dtype.newbyteorder("="), order="C"))


def _layout(stored: Any, layer: Layer) -> Layout:
    dilation = _pair(layer.config.get("dilation_rate", 1))
    if layer.kind == "DepthwiseConv2D":
        return Layout(stored.shape[2], dilation).checked(stored.shape[2] * stored.shape[3])
    return Layout(int(layer.config.get("groups", 1)), dilation).checked(stored.shape[3])


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, list) else (value, value)
    return int(rows), int(columns)


def _attribute(group: Any, name: str) -> str | None:
    value = group.attrs.get(name)
    return value.decode() if isinstance(value, bytes) else value


def _attributes(group: Any, name: str) -> list[str]:
    """Return the texts of an attribute, which Keras splits into ``name0``, ``name1`` if long."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while (key := f"{name}{len(parts)}") in group.attrs:
        parts.append(group.attrs[key])
    return [t.decode() if isinstance(t, bytes) else str(t) for part in parts for t in part]
