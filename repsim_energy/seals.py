"""Seals: the SHA-256 of a file as its last bytes, checked before anything of the file is parsed."""

from __future__ import annotations

import hashlib

from repsim_energy.errors import FileError

__all__ = ["SEAL", "seal", "sealed", "unsealed"]

SEAL = b"\nrepsim-energy sha256 "
"""Separates the content of a file from the SHA-256 of that content, in hexadecimal digits."""


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
        raise FileError(f"'{name}' is damaged: its bytes are not those that were written; {remedy}")
    return content
