"""Images of components, as data addresses that a page can show."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["component_image"]


def component_image(component: NDArray[np.floating[Any]]) -> str:
    """Return a component as the address of a PNG image, one pixel for each number of a channel.

    Zero is the middle gray, and the largest absolute value is black or full color. Three channels
    are shown as red, green and blue, others side by side.

    Parameters
    ----------
    component : (c, kh, kw); NaN throughout for a component without variance

    Returns
    -------
    str
        ``data:image/png;base64,...``, empty for a component without variance

    Examples
    --------
    >>> component_image(np.eye(2)[None])[:22], component_image(np.full((1, 2, 2), np.nan))
    ('data:image/png;base64,', '')
    """
    if not np.isfinite(component).all():
        return ""
    scale = float(np.abs(component).max()) or 1.0
    pixels = np.rint(127.5 + 127.5 * component / scale).astype(np.uint8)
    if len(pixels) == 3:
        rows = pixels.transpose(1, 2, 0)
    else:
        rows = pixels.transpose(1, 0, 2).reshape(pixels.shape[1], -1, 1)
    return "data:image/png;base64," + base64.b64encode(_png(rows)).decode()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of 8-bit pixels (height, width, 1 or 3).

    Source: Boutell (1997), "PNG (Portable Network Graphics) Specification Version 1.0";
    doi:10.17487/RFC2083.
    """
    height, width, channels = pixels.shape
    color = {1: 0, 3: 2}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
