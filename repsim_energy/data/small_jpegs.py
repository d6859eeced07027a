"""Small JPEG files whose headers are alike, as those of one folder mostly are.

Most of the time for a small file is Pillow's reading of its header in Python. What follows from a
header (mode, size, and with which options the pixels are decoded) is therefore kept.
"""

from __future__ import annotations

from functools import cache, lru_cache
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

__all__ = ["SMALL_BYTES", "decoded"]

SMALL_BYTES = 2**16
"""Largest file. Pillow passes one of this size to its decoder as a whole."""

MAX_PIXELS = 2**22
"""Largest image. Of much larger ones Pillow warns."""

HEADERS = 64
"""Headers that are kept."""


class _Header(NamedTuple):
    """What Pillow reads from a header."""

    mode: str
    size: tuple[int, int]
    decoder: str
    options: Any


def decoded(content: bytes) -> Image.Image | None:
    """Return the picture of a JPEG file, or ``None`` if it is to be read in the ordinary way.

    Pillow's decoder is given what it is given in the ordinary way, so the pixels are the same.

    Parameters
    ----------
    content : of a file with at most :data:`SMALL_BYTES`
    """
    if not content.startswith(b"\xff\xd8") or not _is_alike():
        return None
    header = _read(_beginning(content))
    if header is None:
        return None
    mode, size, decoder, options = header
    try:
        return Image.frombytes(mode, size, content, decoder, options)
    except (ValueError, OSError):  # damaged
        return None


def _beginning(content: bytes) -> bytes:
    """Return all segments before the pixels."""
    at, marker = 2, b""
    while marker != b"\xff\xda" and at < len(content):
        marker = content[at : at + 2]
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[:at]


@lru_cache(HEADERS)
def _read(beginning: bytes) -> _Header | None:
    """Have Pillow read a header. If it can, it reads the same from any file that begins so."""
    try:
        with Image.open(BytesIO(beginning), formats=["JPEG"]) as picture:
            (tile,) = picture.tile
            mode, size, kind = picture.mode, picture.size, picture.format
    except Exception:  # damage comes out as any error
        return None
    decoder, extents, offset, options = tile
    whole = extents == (0, 0, *size) and offset == 0 and size[0] * size[1] <= MAX_PIXELS
    return _Header(mode, size, decoder, options) if whole and kind == "JPEG" else None


@cache
def _is_alike() -> bool:
    """Return whether this version of Pillow decodes a picture alike in both ways."""
    file = BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(file, "JPEG")
    header = _read(_beginning(file.getvalue()))
    if header is None:
        return False
    mode, size, decoder, options = header
    with Image.open(file) as picture:
        expected = picture.tobytes()
    try:
        found = Image.frombytes(mode, size, file.getvalue(), decoder, options)
    except (ValueError, OSError):
        return False
    return found.tobytes() == expected
