"""Read files of weights of all formats without running code that they contain."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import re
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load as load_bytes
from torch import Tensor
from torch.serialization import safe_globals

from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.files.archives import check_size, unpacked
from repsim_energy.files.hdf5 import HDF5
from repsim_energy.files.plain_names import path_beside
from repsim_energy.interfaces.hashing import file_digest
from repsim_energy.models.files.file_content import Content
from repsim_energy.models.files.file_names import missing_file
from repsim_energy.models.files.keras_files import is_keras_archive, read_keras
from repsim_energy.models.files.known_hash import check_name, check_sha256
from repsim_energy.models.files.onnx_files import is_onnx, read_onnx
from repsim_energy.models.files.packed import check_archive
from repsim_energy.models.files.unreadable import foreign_kind, pickled_kind
from repsim_energy.numerics.arrays import tensor_of

__all__ = ["Content", "read_file", "read_pytorch"]

SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<end>\.\w+)")
"""Names of the files of a network that is stored in several."""

PLAIN_CLASSES = (
    argparse.Namespace,
    types.SimpleNamespace,
    pathlib.PosixPath,
    pathlib.PurePosixPath,
)
"""Classes that training scripts save beside weights, and that only hold values."""


def read_file(path: Path, sha256: str = "") -> Content:
    """Return the content of a file of weights.

    Formats are PyTorch, safetensors, the index of several files, ONNX and Keras, each of them also
    compressed with gzip. The format is detected from the content, not the name. PyTorch files are
    read with ``weights_only=True``. Of ONNX and Keras files the filters of convolutions are read.

    The checksums of zip archives and gzip files are compared, and a SHA-256 in the name of the file
    or of what it links to. Other formats have none: damage of their numbers cannot be noticed.

    Parameters
    ----------
    sha256 : first digits of :attr:`Content.sha256`; the name of the file then does not count

    Raises
    ------
    UsageError
        If the file is missing, or ``sha256`` is no beginning of one.
    FileError
        If the file is truncated, damaged, of another format, has another SHA-256, or holds other
        objects than tensors.

    Warns
    -----
    RepsimWarning
        If it is a PyTorch file without checksums.
    """
    if os.path.isdir(path):
        raise UsageError(f"'{path}' is a folder, expected a file of weights; name one in it")
    if not os.path.isfile(path):
        raise missing_file(path)
    with _refusing(path), path.open("rb") as file:
        digest = file_digest(file, path.name)
        if not sha256:
            check_name(path, digest)
        file.seek(0)
        shards = _shards_of_index(file, path)
        content = _read_shards(shards, path, not sha256) if shards else _read(file, path)
    content = replace(content, digests={**content.digests, path.name: digest})
    check_sha256(path, content.sha256, sha256)
    return content


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn every error about a file into a ``FileError``.

    What is in a file decides what its reader does, so that it can end with an error of any type.
    """
    try:
        yield
    except (RepsimError, Warning):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(
            f"'{path}' cannot be read as a checkpoint ({reason[:150]}): truncated, damaged or of "
            "another format, expected .safetensors or a PyTorch state_dict; download or save it "
            "again"
        ) from error


def _read(file: IO[bytes], path: Path) -> Content:
    """Return the content of one file, in the format that its first bytes show."""
    file.seek(0)
    if file.read(2) == b"\x1f\x8b":
        file = unpacked(file, path)
    file.seek(0)
    kind = foreign_kind(file)
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    if kind is not None:
        raise FileError(
            f"'{path}' {kind.description}, expected .safetensors or a PyTorch state_dict; "
            f"{kind.remedy}"
        )
    if start.startswith(b"PK"):
        check_archive(file, path)
    if start.startswith(HDF5) or is_keras_archive(file):
        return read_keras(file, path)
    file.seek(0)
    pickled = start.startswith((b"PK", b"\x80"))
    if start[8:] == b"{" or (path.suffix == ".safetensors" and not pickled):
        return _read_safetensors(file)
    if not pickled and (is_onnx(start) or ".onnx" in path.suffixes):
        return read_onnx(file.read(), path)
    return read_pytorch(file, path)


def _read_safetensors(file: IO[bytes]) -> Content:
    name = getattr(file, "name", None)
    if name is None:
        data = file.read()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        tensors = dict(sorted(load_bytes(data).items()))  # which come in a random order
        return Content(tensors, False, header.get("__metadata__", {}))
    with safe_open(name, framework="pt", device="cpu") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        return Content(tensors, False, opened.metadata() or {})


def read_pytorch(file: IO[bytes], path: Path) -> Content:
    """Return the content of a file of ``torch.save``, which holds tensors and plain values.

    Parameters
    ----------
    file : open for reading
    path : of the file, for errors

    Raises
    ------
    FileError
        If it is truncated, damaged, or holds other objects.
    """
    with _refusing(path):
        try:
            with warnings.catch_warnings(), safe_globals([*PLAIN_CLASSES, *_numpy_globals()]):
                warnings.simplefilter("ignore")  # about pickles that are then refused
                content = torch.load(file, map_location="cpu", weights_only=True)
                content = _arrays_to_tensors(content)
                check_size(_bytes_of(content), file.seek(0, os.SEEK_END), path)
                return Content(content, True)
        except Exception as error:
            file.seek(0)
            if isinstance(error, RuntimeError) and file.read(2) == b"PK":
                raise  # the archive is damaged
            kind = pickled_kind(file)
            raise FileError(
                f"'{path}' {kind.description}, expected tensors alone; {kind.remedy}"
            ) from error


def _arrays_to_tensors(content: Any) -> Any:
    """Return nested dictionaries with tensors in place of numeric arrays."""
    if isinstance(content, dict):
        return {key: _arrays_to_tensors(value) for key, value in content.items()}
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiub":
        return tensor_of(content)
    return content


def _bytes_of(content: Any) -> int:
    """Return the size of all tensors in nested dictionaries, repeated numbers included."""
    if isinstance(content, dict):
        return sum(map(_bytes_of, content.values()))
    return content.numel() * content.element_size() if isinstance(content, Tensor) else 0


def _numpy_globals() -> list[Any]:
    """Return the functions and types in pickles of NumPy arrays and numbers, of NumPy 1 and 2."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((scalar, "scalar"), (array, "_reconstruct"))
        for core in ("core", "_core")
    ]
    return [np.dtype, np.ndarray, *(type(np.dtype(code)) for code in "?bhilqBHILQefd"), *functions]


def _shards_of_index(file: IO[bytes], path: Path) -> dict[str, str]:
    """Return tensor -> file if this is the index of a network in several files, else nothing.

    Raises
    ------
    FileError
        If it is one of those files.
    """
    shard = SHARD.fullmatch(path.name)
    if shard and shard["count"] != "00001":
        index = f"{shard['stem']}{shard['end']}.index.json"
        raise FileError(
            f"'{path}' is one of {int(shard['count'])} files of a network, expected all of them; "
            f"name their index '{index}'"
        )
    start = file.read(200).lstrip()
    file.seek(0)
    if not start.startswith(b"{") or path.suffix != ".json":
        return {}
    content = json.loads(file.read())
    file.seek(0)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    return {str(k): str(v) for k, v in shards.items()} if isinstance(shards, dict) else {}


def _read_shards(shards: Mapping[str, str], path: Path, check_names: bool) -> Content:
    """Return the content of all files of an index."""
    paths = {name: path_beside(path, name) for name in sorted(set(shards.values()))}
    if missing := [name for name in paths if not paths[name].is_file()]:
        raise FileError(
            f"'{path}' is the index of {len(paths)} files, of which {len(missing)} are missing "
            f"({', '.join(missing[:3])}), expected all in its folder; download them"
        )
    tensors: dict[str, Any] = {}
    digests = {}
    for name, place in paths.items():
        with place.open("rb") as file:
            digests[name] = file_digest(file, name)
            if check_names:
                check_name(place, digests[name])
            tensors_of_file = _read(file, place).value
        tensors |= {k: t for k, t in tensors_of_file.items() if shards.get(k) == name}
    if absent := [key for key in shards if key not in tensors]:
        raise FileError(
            f"'{path}' names {len(absent)} tensors that are missing in its files ({absent[0]}), "
            "expected all of them; download the files again"
        )
    return Content(tensors, False, digests=digests)
