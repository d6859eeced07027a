"""Image files as pixels. This module imports no torch, so that worker processes start fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageOps

from repsim_energy.data.small_jpegs import SMALL_BYTES, decoded
from repsim_energy.errors import DataError, FileError

__all__ = ["DECODER", "Pixels", "ReadAlike", "Shape", "load_rgb", "read_rgb", "write_at"]

DECODER = f"Pillow {PIL.__version__}"
"""Library that decodes the files. Its versions may differ in rounding, so it is part of the key."""

BUFFER_BYTES = 2**20
"""Pixels that are collected before they are written."""

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]


def load_rgb(path: str | PathLike[str]) -> Image.Image:
    """Return an image file as 8-bit RGB.

    Gray and CMYK are converted. Transparent parts become white.

    Parameters
    ----------
    path : of a file in any format that Pillow reads

    Returns
    -------
    PIL.Image.Image of mode ``RGB``

    Raises
    ------
    FileError
        For a file that is missing, damaged, not an image, or has more than 8 bits per channel.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "gray.png")
    ...     Image.new("L", (4, 3), 128).save(path)
    ...     image = load_rgb(path)
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (4, 3), (128, 128, 128))
    """
    try:
        if (small := _small_jpeg(path)) is not None:
            return small.convert("RGB")
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise FileError(
                    f"'{path}' has more than 8 bits per channel (mode {picture.mode}), expected 8; "
                    "convert it"
                )
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            layer = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())[:100]
        raise FileError(
            f"'{path}' cannot be read as an image ({reason}); remove or replace it"
        ) from error
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _small_jpeg(path: str | PathLike[str]) -> Image.Image | None:
    """Return the picture of a small JPEG file, and nothing for any other."""
    with open(path, "rb", buffering=0) as file:
        content = file.read(SMALL_BYTES + 1)
    return decoded(content) if len(content) <= SMALL_BYTES else None


def read_rgb(path: str | PathLike[str], size: int | None) -> Pixels:
    """Return the (3, h, w) pixels of an image file.

    Parameters
    ----------
    size : height and width, to which the shorter side is resized and the center cropped; ``None``
        for the image as it is
    """
    rgb = load_rgb(path)
    if size is not None:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


@dataclass(frozen=True)
class ReadAlike:
    """Function that reads image files of one shape, and refuses others.

    Parameters
    ----------
    size : as of :func:`read_rgb`
    first : a file of this shape, which the error names
    shape : (c, h, w)
    """

    size: int | None
    first: str
    shape: Shape

    def __call__(self, path: str | PathLike[str]) -> Pixels:
        """Return the pixels of a file.

        Raises
        ------
        DataError
            For an image of another shape.
        """
        pixels = read_rgb(path, self.size)
        if pixels.shape != self.shape:
            raise DataError(
                f"images differ in size: '{self.first}' is {self.shape[1:]}, '{path}' "
                f"{pixels.shape[1:]}; bring them to one with size=, as in FOLDER:size=64"
            )
        return pixels


def write_at(read: Callable[[str], Pixels], files: Sequence[str], target: Path, start: int) -> None:
    """Write the pixels of some files into a file from a place on.

    Other processes may write other places of this file.
    """
    with target.open("r+b", buffering=BUFFER_BYTES) as file:
        file.seek(start)
        for path in files:
            file.write(read(path).data)
