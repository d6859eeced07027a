"""Seals: the SHA-256 of a file as its last bytes, checked before anything of the file is parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from repsim_energy.errors import FileError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = [
    "SEAL",
    "SEAL_BYTES",
    "check_seal",
    "copy_sealed",
    "is_sealed",
    "seal",
    "sealed",
    "sealed_json",
    "sealed_tensors",
    "unsealed",
    "unsealed_json",
    "unsealed_tensors",
]

SEAL = b"\nrepsim-energy sha256 "
"""Separates the content of a file from the SHA-256 of that content, in hexadecimal digits."""

SEAL_BYTES = len(SEAL) + 2 * hashlib.sha256().digest_size
"""Length of a seal."""

PART_BYTES = 2**20
"""Size of the parts in which a file is hashed."""

JSON_SEAL = b',\n "seal": "'
"""Begins the last entry of a sealed JSON object. Its value is the SHA-256 of all bytes before."""

JSON_END = b'"\n}'


def seal(content: bytes | memoryview) -> bytes:
    """Return the seal of a content, to be written behind it."""
    return SEAL + hashlib.sha256(content).hexdigest().encode()


def sealed(content: bytes) -> bytes:
    r"""Return the bytes of a file with this content and its seal.

    Examples
    --------
    >>> sealed(b"content")[:28], unsealed(sealed(b"content"), "f", "make it anew")
    (b'content\nrepsim-energy sha256', b'content')
    """
    return content + seal(content)


def is_sealed(data: bytes) -> bool:
    """Return whether the last bytes of a file are a seal, be it right or wrong.

    Examples
    --------
    >>> is_sealed(sealed(b"content")), is_sealed(sealed(b"content")[:-1])
    (True, False)
    """
    return data[-SEAL_BYTES:].startswith(SEAL)


def unsealed(data: bytes, name: object, remedy: str) -> bytes:
    """Return the content of a sealed file.

    Parameters
    ----------
    data : all bytes of the file
    name : of the file, for the error
    remedy : advice at the end of the error

    Raises
    ------
    FileError
        If it has no seal, or other content than when it was sealed.
    """
    content, _, digest = data.rpartition(SEAL)
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise _damaged(name, remedy)
    return content


def copy_sealed(source: IO[bytes], target: Path) -> None:
    """Write a content to another file part by part, with its seal behind it."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while part := source.read(PART_BYTES):
            digest.update(part)
            file.write(part)
        file.write(SEAL + digest.hexdigest().encode())


def check_seal(file: IO[bytes], name: object, remedy: str) -> bool:
    """Compare a file with its seal part by part, and return whether it has one.

    Parameters
    ----------
    file : open for reading
    name : of the file, for the error
    remedy : advice at the end of the error

    Raises
    ------
    FileError
        If it has other content than when it was sealed.

    Examples
    --------
    >>> from io import BytesIO
    >>> check_seal(BytesIO(sealed(b"content")), "f", ""), check_seal(BytesIO(b"content"), "f", "")
    (True, False)
    """
    left = file.seek(0, 2) - SEAL_BYTES
    if left < 0:
        return False
    file.seek(left)
    if not is_sealed(last := file.read()):
        return False
    file.seek(0)
    digest = hashlib.sha256()
    while left and (part := file.read(min(left, PART_BYTES))):
        digest.update(part)
        left -= len(part)
    if left or digest.hexdigest().encode() != last[len(SEAL) :]:
        raise _damaged(name, remedy)
    return True


def _damaged(name: object, remedy: str) -> FileError:
    return FileError(f"'{name}' is damaged: its bytes are not those that were written; {remedy}")


def sealed_json(facts: Mapping[str, Any]) -> bytes:
    """Return a JSON object as text, with its seal as the last entry.

    What JSON does not have becomes text. The object must have an entry.

    Examples
    --------
    >>> print(sealed_json({"steps": 3}).decode()[:30])
    {
     "steps": 3,
     "seal": "c8d32
    """
    text = json.dumps(dict(facts), indent=1, default=str).encode().removesuffix(b"\n}")
    return text + JSON_SEAL + hashlib.sha256(text).hexdigest().encode() + JSON_END


def unsealed_json(data: bytes, name: object, remedy: str) -> dict[str, Any]:
    """Return a sealed JSON object, without its seal.

    Parameters
    ----------
    data : all bytes of the file
    name : of the file, for the error
    remedy : advice at the end of the error

    Raises
    ------
    FileError
        If it has no seal, or other content than when it was sealed.

    Examples
    --------
    >>> unsealed_json(sealed_json({"steps": 3}), "f", "make it anew")
    {'steps': 3}
    """
    text, _, rest = data.rpartition(JSON_SEAL)
    if hashlib.sha256(text).hexdigest().encode() + JSON_END != rest:
        raise _damaged(name, remedy)
    facts: dict[str, Any] = json.loads(text + b"}")
    return facts


def sealed_tensors(tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a file of tensors and facts with its seal.

    The content is in the safetensors format, with the facts as JSON in its metadata.
    """
    from safetensors.torch import save

    return sealed(save(dict(tensors), {"facts": json.dumps(dict(facts or {}))}))


def unsealed_tensors(
    data: bytes, name: object, remedy: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and facts of a sealed file.

    Parameters
    ----------
    data : all bytes of the file
    name : of the file, for the error
    remedy : advice at the end of the error

    Raises
    ------
    FileError
        If it has no seal, or other content than when it was sealed.

    Examples
    --------
    >>> import torch
    >>> unsealed_tensors(sealed_tensors({"a": torch.ones(2)}, {"steps": 3}), "f", "make it anew")
    ({'a': tensor([1., 1.])}, {'steps': 3})
    """
    from safetensors.torch import load

    content = unsealed(data, name, remedy)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load(content), json.loads(header["__metadata__"]["facts"])
