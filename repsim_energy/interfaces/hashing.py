"""SHA-256 of arrays and files, with progress for large ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from repsim_energy.progress import working

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["bytes_digest", "file_digest", "tensor_digest"]

PART_BYTES = 2**24
"""Bytes that are hashed between two reports."""

MIN_REPORTED_BYTES = 2**28
"""Size from which on progress is reported. Less takes well under two seconds."""


def tensor_digest(tensor: Tensor) -> str:
    """Return the SHA-256 of type, shape and values, without copying a contiguous tensor."""
    tensor, kind = tensor.detach().cpu(), ""
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not have
        from torch import int16  # here, so that listing names stays fast

        tensor, kind = tensor.view(int16), "bfloat16"
    array = tensor.numpy()
    start = f"{kind or array.dtype.str}{array.shape}".encode()
    whole = array.ndim < 2 or array.flags.c_contiguous
    with _digest("SHA-256 of an array", array.nbytes, start) as (digest, update):
        for part in [array] if whole else array:
            update(part.reshape(-1).view("uint8").data)
    return digest.hexdigest()


def bytes_digest(values: memoryview, label: str) -> bytes:
    """Return the SHA-256 of bytes.

    Parameters
    ----------
    values : contiguous
    label : of this piece of work, in reports of progress
    """
    with _digest(label, values.nbytes) as (digest, update):
        update(values)
    return digest.digest()


def file_digest(file: IO[bytes], name: str) -> str:
    """Return the SHA-256 of the file on disk behind an open file, from its start.

    Parameters
    ----------
    name : of the file, in reports of progress
    """
    file.seek(0)
    with _digest(f"SHA-256 of {name}", os.fstat(file.fileno()).st_size) as (digest, update):
        while part := file.read(PART_BYTES):
            update(memoryview(part))
    return digest.hexdigest()


@contextmanager
def _digest(
    label: str, size: int, start: bytes = b""
) -> Iterator[tuple[hashlib._Hash, Callable[[memoryview], None]]]:
    """Yield a digest and a function that adds contiguous bytes to it and reports them."""
    digest = hashlib.sha256(start)
    if size < MIN_REPORTED_BYTES:
        yield digest, digest.update
        return
    with working(label, size, "bytes") as advance:

        def update(values: memoryview) -> None:
            values = values.cast("B")
            for place in range(0, len(values), PART_BYTES):
                part = values[place : place + PART_BYTES]
                digest.update(part)
                advance(len(part))

        yield digest, update
