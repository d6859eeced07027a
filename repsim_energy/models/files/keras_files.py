"""Filters of Keras files (``.keras``, ``.h5``, ``.weights.h5``); nothing is executed.

Kernels are (h, w, in, out) in every file, whatever ``data_format`` says; they become
(out, in, h, w).

The layouts are those that Keras writes in ``saving_lib.py`` (``layers/conv2d_1/vars/0``, numbered
within each class, in the order of the configuration) and in ``legacy_h5_format.py`` (a group for
each layer, with the names of its weights as an attribute).
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
from repsim_energy.models.files.file_content import Content, Layout, first_of, missing_package
from repsim_energy.models.files.keras_graph import Layer, layers_of, reached

__all__ = ["HDF5", "is_keras_archive", "read_keras"]

HDF5 = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
"""The parts of a ``.keras`` file."""

NAMED = re.compile(r"(?P<before>(?:.*/)?)(?:kernel|(?P<layer>\w+)_W(?P<number>_\d+)?)")
"""Names of kernels in the old layout; those with a W are of files that are still handed around."""

OTHERS = re.compile(r"(.*/)?(depthwise_conv2d|separable_conv2d|conv2d_transpose)(_\d+)?")
"""Groups of layers in the new layout that have other kernels of four axes."""


def is_keras_archive(file: IO[bytes]) -> bool:
    """Return whether this is a ``.keras`` file, which is a zip archive."""
    file.seek(0)
    return file.read(2) == b"PK" and WEIGHTS in zipfile.ZipFile(file).namelist()


def read_keras(file: IO[bytes], path: Path) -> Content:
    """Return the filters of all convolutions of a Keras file, and which gets the image.

    Parameters
    ----------
    file : open for reading: HDF5, or a zip archive with such a file
    path : for messages

    Raises
    ------
    UsageError
        Where the package h5py is missing.
    FileError
        For a file that is damaged, holds no filters, or has parts in other files.
    """
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
            f"'{path}' cannot be read as HDF5: truncated or damaged; download or save it again"
        ) from error
    with opened as root:
        _refuse_other_files(root, path)
        config = config or _attribute(root, "model_config")
        try:
            return _Kernels(root, path, _model(config, path)).content()
        except (AttributeError, LookupError, TypeError, ValueError, OSError) as error:
            raise FileError(
                f"'{path}' is damaged, or not as Keras writes it ({reason_of(error)}); save it "
                "again"
            ) from error


def _model(config: Any, path: Path) -> Any:
    if config is None:
        return None
    try:
        return json.loads(config)
    except ValueError as error:
        raise FileError(
            f"'{path}' has a configuration that is no JSON; download or save it again"
        ) from error


class _Kernels:
    """The convolutions of an open HDF5 file, by the configuration or by the names in the file."""

    def __init__(self, root: Any, path: Path, model: Any) -> None:
        self.path = path
        self.model = model
        self.root = root.get("model_weights", root)
        self.old = "layer_names" in self.root.attrs or "layer_names0" in self.root.attrs
        self.flipped = _attribute(self.root, "backend") == "theano"
        if (_attribute(self.root, "keras_version") or "").startswith(("0.", "1.")):
            raise FileError(
                f"'{path}' was saved by Keras 1, whose kernels have several layouts, expected "
                "Keras 2 or newer; save it again"
            )

    def content(self) -> Content:
        """Return what a checkpoint needs to know of the file."""
        known = layers_of(self.model)
        if not known:  # no configuration, or a class whose code says how layers are connected
            found = dict(self._old_kernels() if self.old else self._new_kernels())
            self._check(found)
            return Content(found, self.old, graph="a Keras file")
        tensors, layouts, names = {}, {}, {}
        for layer in known:
            if layer.kind in ("Conv2D", "DepthwiseConv2D"):
                stored = self._stored(layer)
                key = f"{layer.name}.kernel"
                tensors[key], layouts[key] = self._turned(stored, layer), _layout(stored, layer)
                names[layer.name] = key
        self._check(tensors)
        layers, others, scaled = reached(self.model)
        first, unclear = first_of(layers, others, names)
        return Content(
            tensors,
            True,
            graph="a Keras file",
            layouts=layouts,
            first=names.get(first, ""),
            unclear=unclear,
            note=f"the network scales images first ({', '.join(scaled)})" if scaled else "",
        )

    def _check(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if not tensors:
            raise FileError(
                f"'{self.path}' holds no kernels of convolutions that Keras saves, expected a "
                "model with a Conv2D layer, or its weights; save the whole model"
            )

    def _stored(self, layer: Layer) -> Any:
        """Return the kernel of a layer, checked against what the configuration says."""
        place = self._old_place(layer) if self.old else self._new_place(layer)
        kernel = self.root.get(place) if place else None
        size = tuple(layer.config.get("kernel_size") or ())
        if kernel is None or kernel.ndim != 4 or tuple(kernel.shape[:2]) != size:
            got = "none" if kernel is None else str(tuple(kernel.shape))
            raise FileError(
                f"'{self.path}' has as kernel of layer '{layer.name}' {got}, expected one of size "
                f"{size}; save it again, or hand over the filters from Python"
            )
        return kernel

    def _old_place(self, layer: Layer) -> str | None:
        """Return where a kernel stands: in the group of the outermost model that it is part of."""
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

    def _new_place(self, layer: Layer) -> str | None:
        steps = [group + (f"_{n}" if n else "") for group, n in layer.numbered]
        for container in ("layers", "_layer_checkpoint_dependencies"):
            place = "/".join(f"{container}/{step}" for step in steps) + "/vars"
            if place in self.root:
                name = _attribute(self.root[place], "name")
                return f"{place}/0" if name in (None, layer.path[-1]) else None
        return None

    def _turned(self, stored: Any, layer: Layer) -> torch.Tensor:
        """Return (k, c, h, w) filters of a (h, w, c, k) kernel; c is 1 for depthwise ones."""
        kernel = np.asarray(stored[()])
        if kernel.dtype.kind != "f":
            raise FileError(
                f"the kernel of layer '{layer.name}' in '{self.path}' is {kernel.dtype}, expected "
                "floating-point numbers; save the network before it was made smaller"
            )
        if layer.kind == "DepthwiseConv2D":
            h, w, c, each = kernel.shape
            kernel = kernel.reshape(h, w, 1, c * each)
        return _as_filters(kernel, self.flipped)

    def _old_kernels(self) -> Iterator[tuple[str, torch.Tensor]]:
        for layer in _attributes(self.root, "layer_names"):
            for name in _attributes(self.root[layer], "weight_names"):
                named = NAMED.fullmatch(name.partition(":")[0])
                if named is None:
                    continue
                stored, bias = self.root[layer][name], self.root[layer].get(_bias_name(named, name))
                unclear = bias is None or stored.shape[:1] == bias.shape
                if _is_kernel(stored, bias) and not (named["layer"] and unclear):
                    parts = named["before"].split("/")[:-1]
                    inner = parts[parts.index(layer) + 1 :] if layer in parts else parts
                    key = ".".join([layer, *inner, "kernel"])
                    yield key, _as_filters(np.asarray(stored[()]), self.flipped)

    def _new_kernels(self) -> Iterator[tuple[str, torch.Tensor]]:
        found: list[str] = []
        self.root.visit(found.append)
        for place in found:
            group, _, rest = place.partition("/vars/")
            if rest != "0" or OTHERS.fullmatch(group) or group.startswith("optimizer"):
                continue
            if _is_kernel(self.root[place], self.root.get(f"{group}/vars/1")):
                parts = [part for part in group.split("/") if part != "layers"]
                yield ".".join([*parts, "kernel"]), _as_filters(self.root[place][()], False)


def _bias_name(kernel: re.Match[str], name: str) -> str:
    """Return what the bias of a layer is called, by the name of its kernel."""
    bias = f"{kernel['layer']}_b{kernel['number'] or ''}" if kernel["layer"] else "bias"
    return kernel["before"] + bias + name[kernel.end() :]


def _is_kernel(stored: Any, bias: Any) -> bool:
    """Return whether an array may be the kernel of a convolution, by the bias beside it."""
    fits = bias is None or tuple(bias.shape) == tuple(stored.shape[-1:])
    return fits and stored.ndim == 4 and stored.dtype.kind == "f"


def _as_filters(kernel: np.ndarray[Any, Any], flipped: bool) -> torch.Tensor:
    turned = (kernel[::-1, ::-1] if flipped else kernel).transpose(3, 2, 0, 1)
    wide = turned if turned.dtype in (np.float32, np.float64) else turned.astype(np.float32)
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
    """Return the texts of an attribute, which Keras splits (``name0``, ``name1``) where many."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while (key := f"{name}{len(parts)}") in group.attrs:
        parts.append(group.attrs[key])
    return [t.decode() if isinstance(t, bytes) else str(t) for part in parts for t in part]


def _refuse_other_files(root: Any, path: Path) -> None:
    """Refuse what would be read from other files: external links, storage and virtual data."""
    import h5py

    foreign = []

    def look(name: str, found: Any) -> None:
        elsewhere = isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)
        if isinstance(found, h5py.ExternalLink) or elsewhere:
            foreign.append(name)

    root.visititems_links(look)
    root.visititems(look)
    if foreign:
        raise FileError(
            f"'{path}' has '{foreign[0]}' in another file, expected all in one; save it again"
        )
