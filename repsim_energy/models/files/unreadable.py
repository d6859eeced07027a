"""Describe files that cannot be read as weights, each with a remedy."""

from __future__ import annotations

import pickletools
import zipfile
from typing import IO, Any, NamedTuple

__all__ = ["Kind", "foreign_kind", "pickled_kind"]


class Kind(NamedTuple):
    """Description of a file that is not one of weights, and a remedy."""

    description: str
    remedy: str


SAVE = "save its state_dict() as .safetensors or with torch.save"

FIRST_BYTES = {
    b"version https://git-lfs": ("is a git-lfs pointer, not the file itself", "run git lfs pull"),
    b"\x93NUMPY": ("is a NumPy array without a name", "pass it as filters in Python"),
    b"\xfd7zXZ\x00": ("is compressed with xz", "unpack it"),
    b"BZh": ("is compressed with bzip2", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("is a 7z archive", "unpack it"),
    b"Rar!": ("is a RAR archive", "unpack it"),
    b"GGUF": ("is a GGUF file, which is not read", SAVE),
    b"PAR1": ("is a Parquet table", "name a file of weights"),
    b"%PDF": ("is a PDF", "download the file of weights itself"),
}
"""First bytes of files of other formats -> description and remedy."""

BYTES_5_TO_8 = {
    b"ORTM": ("is a file of ONNX Runtime", "name the .onnx file that it was made from"),
    b"TFL3": ("is a TensorFlow Lite file, which is not read", "save the Keras model"),
}
"""Fifth to eighth byte of files of other formats -> description and remedy."""

PLAIN_MODULES = ("torch", "collections", "_codecs", "builtins", "__builtin__")
"""Modules whose classes the pickle of a plain state dict names."""


def foreign_kind(file: IO[bytes]) -> Kind | None:
    """Return the format of a file that is not one of weights, else ``None``.

    Parameters
    ----------
    file : open for reading, at its beginning

    Examples
    --------
    >>> import io
    >>> foreign_kind(io.BytesIO(b"version https://git-lfs.github.com/spec/v1"))
    Kind(description='is a git-lfs pointer, not the file itself', remedy='run git lfs pull')
    """
    data = file.read(512)
    if not data.strip(b"\0"):
        return Kind("is empty" if not data else "holds zeros alone", "download or save it again")
    for start, description in FIRST_BYTES.items():
        if data.startswith(start):
            return Kind(*description)
    for mark, description in BYTES_5_TO_8.items():
        if data[4:8] == mark:
            return Kind(*description)
    if data[257:262] == b"ustar":
        return Kind("is a tar archive", "unpack it and name the file of weights in it")
    if data.startswith(b"PK"):
        return _archive_kind(file)
    return _text_kind(data)


def _text_kind(data: bytes) -> Kind | None:
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return Kind("is a web page instead of the file at that address", "download the file itself")
    if start.startswith(b"{"):
        return Kind("is a JSON text without tensors", "name the file of weights")
    return None


def _archive_kind(file: IO[bytes]) -> Kind | None:
    """Return the format of a zip archive, ``None`` for those of torch.save and Keras."""
    try:
        names = zipfile.ZipFile(file).namelist()
    except zipfile.BadZipFile:
        return Kind("is truncated or damaged", "download or save it again")
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files or any("/code/" in name for name in names):
        return Kind("is a TorchScript archive, which holds code", SAVE)
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return Kind("is an exported program of torch.export, which holds code", SAVE)
    if files and all(name.endswith(".npy") for name in files):
        return Kind("holds NumPy arrays (.npz)", "pass the filters in Python")
    if "data.pkl" not in files and "model.weights.h5" not in files:
        return Kind("is a zip archive", "unpack it and name the file of weights in it")
    return None


def pickled_kind(file: IO[bytes]) -> Kind:
    """Return which objects a pickle holds besides tensors, from the names in it.

    Nothing is unpickled.
    """
    names = _class_names(_open_pickle(file))
    foreign = [n for n in names if n.partition(".")[0] not in PLAIN_MODULES]
    layers = [n for n in names if n.startswith("torch.nn.modules")]
    if layers or any(n.startswith(("torchvision.models", "timm.models")) for n in foreign):
        named = next((n for n in foreign if not n.startswith("numpy")), (layers or foreign)[0])
        return Kind(f"is a whole pickled module ({named}), which would run code", SAVE)
    if foreign and all(n.startswith("numpy") for n in foreign):
        return Kind("holds pickled NumPy objects beside or in place of tensors", SAVE)
    if foreign:
        listed = ", ".join(foreign[:3])
        return Kind(f"holds more than tensors ({listed}), which could run code", SAVE)
    return Kind("is damaged, or holds more than tensors", f"download it again, or {SAVE}")


def _open_pickle(file: IO[bytes]) -> IO[bytes]:
    """Return the pickle of a PyTorch file, which may be in a zip archive."""
    file.seek(0)
    if file.read(2) != b"PK":
        file.seek(0)
        return file
    archive = zipfile.ZipFile(file)
    return archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))


def _class_names(stream: IO[bytes]) -> list[str]:
    """Return the classes and functions that pickles name, in order."""
    names: list[str] = []
    texts: list[str] = []  # on the stack
    memo: dict[Any, str] = {}
    try:
        while True:  # the older format of torch.save is several pickles
            last = ""
            for operation, argument, _ in pickletools.genops(stream):
                kind = operation.name
                if kind == "GLOBAL":
                    names.append(str(argument).replace(" ", "."))
                elif kind == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                if kind in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                    memo[len(memo) if kind == "MEMOIZE" else argument] = last
                    continue
                last = str(argument) if kind.endswith("UNICODE") else ""
                if kind in ("BINGET", "LONG_BINGET"):
                    last = memo.get(argument, "")
                if last:
                    texts.append(last)
    except (ValueError, IndexError, EOFError, OverflowError, MemoryError):
        pass  # after the pickles come tensors, or the file ends
    return list(dict.fromkeys(names))
