"""What a file is that holds no tensors to be read, and what its owner can do."""

from __future__ import annotations

import pickletools
import zipfile
from typing import IO, Any

__all__ = ["foreign_kind", "pickled_kind"]

SAVE = "save its state_dict() as .safetensors or with torch.save"

BEGINNINGS = {
    b"version https://git-lfs": "is a git-lfs pointer, not the file itself; run git lfs pull",
    b"\x93NUMPY": "is a NumPy array without a name; hand it over from Python as filters",
    b"\xfd7zXZ\x00": "is compressed with xz; unpack it",
    b"BZh": "is compressed with bzip2; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive; unpack it",
    b"Rar!": "is a RAR archive; unpack it",
    b"GGUF": f"is a GGUF file, which is not read; {SAVE}",
    b"PAR1": "is a Parquet table; expected a file of weights",
    b"%PDF": "is a PDF; download the file of weights itself",
}
"""First bytes of files of other kinds."""

WITHIN = {
    b"ORTM": "is a file of ONNX Runtime; name the .onnx file that it was made from",
    b"TFL3": "is a TensorFlow Lite file, which is not read; save the Keras model",
}
"""Bytes from the fifth on of files of other kinds."""

PLAIN_MODULES = ("torch", "collections", "_codecs", "builtins", "__builtin__")
"""Where a plain state_dict takes its classes from."""


def foreign_kind(file: IO[bytes]) -> str | None:
    """Return what a file is and what to do, where its content shows that it is no checkpoint.

    Parameters
    ----------
    file : open for reading, at its beginning

    Examples
    --------
    >>> import io
    >>> foreign_kind(io.BytesIO(b"version https://git-lfs.github.com/spec/v1"))
    'is a git-lfs pointer, not the file itself; run git lfs pull'
    """
    data = file.read(512)
    if not data.strip(b"\0"):
        return "is empty" + ("" if not data else " (zeros alone)") + "; download or save it again"
    for beginning, answer in BEGINNINGS.items():
        if data.startswith(beginning):
            return answer
    for kind, answer in WITHIN.items():
        if data[4:8] == kind:
            return answer
    if data[257:262] == b"ustar":
        return "is a tar archive; unpack it and name the file of weights in it"
    if data.startswith(b"PK"):
        return _archive_kind(file)
    return _text_kind(data)


def _text_kind(data: bytes) -> str | None:
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not the file that its address promised; download the file itself"
    if start.startswith(b"{"):
        return "is a JSON text without tensors; name the file of weights"
    return None


def _archive_kind(file: IO[bytes]) -> str | None:
    """Return what a zip archive is, unless it is one of torch.save."""
    try:
        names = zipfile.ZipFile(file).namelist()
    except zipfile.BadZipFile:
        return "is truncated or damaged; download or save it again"
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files or any("/code/" in name for name in names):
        return f"is a TorchScript archive, which holds code; {SAVE}"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return f"is an exported program of torch.export, which holds code; {SAVE}"
    if files and all(name.endswith(".npy") for name in files):
        return "holds NumPy arrays (.npz); hand the filters over from Python"
    if "data.pkl" not in files and "model.weights.h5" not in files:
        return "is a zip archive; unpack it and name the file of weights in it"
    return None


def pickled_kind(file: IO[bytes]) -> str:
    """Return what a pickle holds beside tensors, by the names in it; nothing is executed."""
    names = _classes(_pickle_of(file))
    foreign = [n for n in names if n.partition(".")[0] not in PLAIN_MODULES]
    layers = [n for n in names if n.startswith("torch.nn.modules")]
    if layers or any(n.startswith(("torchvision.models", "timm.models")) for n in foreign):
        named = next((n for n in foreign if not n.startswith("numpy")), (layers or foreign)[0])
        return f"is a whole pickled module ({named}), which would run code; {SAVE}"
    if foreign and all(n.startswith("numpy") for n in foreign):
        return f"holds pickled NumPy objects beside or in place of tensors; {SAVE} alone"
    if foreign:
        shown = ", ".join(foreign[:3])
        return f"holds more than tensors ({shown}), which could run code; {SAVE} alone"
    return f"is damaged, or holds more than tensors; {SAVE} alone, or download it again"


def _pickle_of(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    if file.read(2) != b"PK":
        file.seek(0)
        return file
    archive = zipfile.ZipFile(file)
    return archive.open(next(n for n in archive.namelist() if n.endswith("data.pkl")))


def _classes(stream: IO[bytes]) -> list[str]:
    """Return the classes and functions that pickles name, in their order."""
    names: list[str] = []
    texts: list[str] = []  # those on the stack
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
        pass  # tensors, or the end of the file, follow the pickles
    return list(dict.fromkeys(names))
