"""Read tensors from files without ever running code that a file brings along."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import pathlib
import pickle
import re
import types
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from torch.serialization import safe_globals

from repsim_energy.errors import FileError, UsageError
from repsim_energy.models.files.file_content import Content
from repsim_energy.models.files.file_names import missing_file
from repsim_energy.models.files.keras_files import HDF5, is_keras_archive, read_keras
from repsim_energy.models.files.onnx_files import is_onnx, read_onnx
from repsim_energy.models.files.unreadable import foreign_kind, pickled_kind
from repsim_energy.numerics.arrays import tensor_of

__all__ = ["Content", "read_file"]

SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<end>\.\w+)")
"""The name of a file that holds a part of a network alone."""

PLAIN = (argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath)
"""Classes that hold values and run nothing, which training scripts save beside weights."""

DAMAGE = (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError, zlib.error)
"""What the readers raise on files that are cut off or damaged."""


def read_file(path: Path) -> Content:
    """Return what a file of weights holds: PyTorch's, safetensors, an index, ONNX or Keras.

    The content says what kind a file is, not its name. PyTorch files are read with
    ``weights_only=True`` and nothing else; what is compressed with gzip is unpacked in memory.
    Of ONNX and Keras files the filters of convolutions are read.

    Raises
    ------
    UsageError
        Where there is no such file.
    FileError
        For a file that is truncated, of another kind, or holds more than tensors.
    """
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder, expected a file of weights; name one in it")
    if not path.is_file():
        raise missing_file(path)
    try:
        with path.open("rb") as file:
            shards = _shards(file, path)
            content = _of_shards(shards, path) if shards else _content(file, path)
            return replace(content, digests={**content.digests, path.name: _sha256(file)})
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(
            f"'{path}' cannot be read as a checkpoint ({reason[:150]}): truncated, damaged or of "
            "another kind; expected an intact .safetensors file or a PyTorch state_dict"
        ) from error


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _content(file: IO[bytes], path: Path) -> Content:
    if file.read(2) == b"\x1f\x8b":
        file.seek(0)
        with gzip.open(file) as packed:
            file = io.BytesIO(packed.read())
    file.seek(0)
    kind = foreign_kind(file)
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    if kind is not None:
        raise FileError(f"'{path}' {kind}; expected .safetensors or a PyTorch state_dict")
    if start.startswith(HDF5) or is_keras_archive(file):
        return read_keras(file, path)
    file.seek(0)
    pickled = start.startswith((b"PK", b"\x80"))
    if start[8:] == b"{" or (path.suffix == ".safetensors" and not pickled):
        return _safetensors(file)
    if not pickled and (is_onnx(start) or ".onnx" in path.suffixes):
        return read_onnx(file.read(), path)
    return _pytorch(file, path)


def _safetensors(file: IO[bytes]) -> Content:
    name = getattr(file, "name", None)
    if name is None:
        data = file.read()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return Content(load_bytes(data), False, header.get("__metadata__", {}))
    with safe_open(name, framework="pt", device="cpu") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        return Content(tensors, False, opened.metadata() or {})


def _pytorch(file: IO[bytes], path: Path) -> Content:
    try:
        with warnings.catch_warnings(), safe_globals([*PLAIN, *_numpy_values()]):
            warnings.simplefilter("ignore")  # of pickles that are then refused
            found = torch.load(file, map_location="cpu", weights_only=True)
            return Content(_with_tensors(found), True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        file.seek(0)
        if isinstance(error, RuntimeError) and file.read(2) == b"PK":
            raise
        kind = pickled_kind(file)
        raise FileError(f"'{path}' {kind}; expected tensors alone") from error


def _with_tensors(content: Any) -> Any:
    """Return content with tensors in place of the arrays of numbers in its mappings."""
    if isinstance(content, dict):
        return {key: _with_tensors(value) for key, value in content.items()}
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        return tensor_of(content)
    return content


def _numpy_values() -> list[Any]:
    """Return what rebuilds numbers and arrays of NumPy, under its names in NumPy 1 and 2."""
    value, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((value, "scalar"), (array, "_reconstruct"))
        for core in ("core", "_core")
    ]
    return [np.dtype, np.ndarray, *(type(np.dtype(code)) for code in "?bhilqBHILQefd"), *functions]


def _shards(file: IO[bytes], path: Path) -> dict[str, str]:
    """Return tensor -> file where this is the index of a checkpoint in several files."""
    part = SHARD.fullmatch(path.name)
    if part and part["count"] != "00001":
        index = f"{part['stem']}{part['end']}.index.json"
        raise FileError(
            f"'{path}' is one of {int(part['count'])} files of a network, expected all of them; "
            f"name their index, '{index}'"
        )
    start = file.read(200).lstrip()
    file.seek(0)
    if not start.startswith(b"{") or path.suffix != ".json":
        return {}
    found = json.loads(file.read())
    file.seek(0)
    shards = found.get("weight_map") if isinstance(found, dict) else None
    return {str(k): str(v) for k, v in shards.items()} if isinstance(shards, dict) else {}


def _of_shards(shards: Mapping[str, str], path: Path) -> Content:
    names = sorted(set(shards.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise FileError(
            f"'{path}' names '{outside[0]}', expected files in its own folder; mend the index"
        )
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise FileError(
            f"'{path}' is the index of {len(names)} files, of which {len(missing)} are missing "
            f"({', '.join(missing[:3])}); put them beside it"
        )
    tensors: dict[str, Any] = {}
    digests = {}
    for name in names:
        with (path.parent / name).open("rb") as file:
            read = _content(file, path.parent / name).value
            digests[name] = _sha256(file)
        tensors |= {key: read[key] for key in read if shards.get(key) == name}
    if absent := [key for key in shards if key not in tensors]:
        raise FileError(
            f"'{path}' names {len(absent)} tensors that its files do not hold ({absent[0]}); "
            "download them again"
        )
    return Content(tensors, False, digests=digests)
