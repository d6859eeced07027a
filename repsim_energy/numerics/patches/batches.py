"""Batches of images: how they are read, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.interfaces import channels_last
from repsim_energy.numerics.arrays import tensor_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Images = Tensor | NDArray[Any]

__all__ = ["batches_of", "check_batch", "no_images", "pixel_unit"]

CHUNK_BYTES = 64 * 2**20
"""Bytes of an array that are read at once."""


def batches_of(images: Images | Iterable[Any]) -> Iterator[Tensor]:
    """Yield batches of images as tensors.

    An array, which may be mapped from a file, is read in parts.
    """
    if isinstance(images, Tensor):
        yield images
    elif isinstance(images, np.ndarray) and images.ndim == 0:
        yield tensor_of(images)
    elif isinstance(images, np.ndarray):
        step = max(1, CHUNK_BYTES * len(images) // max(1, images.nbytes))
        for start in range(0, len(images), step):
            yield tensor_of(np.array(images[start : start + step]))
    else:
        if isinstance(images, str | bytes | PathLike | Mapping) or not isinstance(images, Iterable):
            keys = f" with {', '.join(map(str, images))}" if isinstance(images, Mapping) else ""
            raise UsageError(
                f"got images as {type(images).__name__}{keys}, expected a tensor or array "
                "(n, c, h, w), or batches of them; read files first, take images out of mappings"
            )
        for batch in images:
            yield from batches_of(batch[0] if isinstance(batch, tuple | list) and batch else batch)


def no_images() -> DataError:
    """Return the error for a set of no images."""
    return DataError("got no images, expected at least one; check the data set and its limit=")


def pixel_unit(images: Tensor) -> float:
    """Return the pixel value that 1 stands for: 1/255 for uint8 images, 1 for float images."""
    return 1.0 if images.is_floating_point() else 1 / 255


def check_batch(batch: Tensor, patch: tuple[int, int]) -> None:
    """Refuse images that are not (n, c, h, w) uint8 or float, or no larger than a patch."""
    if not isinstance(patch, Sequence) or len(patch) != 2 or not all(n > 0 for n in patch):
        raise ShapeError(f"patch is {patch!r}, expected its rows and columns, such as (3, 3)")
    if batch.ndim != 4 or math.prod(batch.shape[1:]) == 0:
        raise ShapeError(
            f"images have shape {tuple(batch.shape)}, expected (n, c, h, w); "
            "stack them along a first axis, channels before rows"
        )
    if channels_last(batch.shape):
        raise ShapeError(
            f"images have shape {tuple(batch.shape)}, which is (n, h, w, c), expected "
            "(n, c, h, w); move the channels with permute(0, 3, 1, 2)"
        )
    if batch.dtype != torch.uint8 and not batch.is_floating_point():
        raise ShapeError(f"images are {batch.dtype}, expected uint8 or float; convert them")
    height, width = batch.shape[2:]
    if height < patch[0] or width < patch[1]:
        raise ShapeError(
            f"images are {height}x{width}, smaller than the {patch[0]}x{patch[1]} kernel; "
            "use larger images (size=) or a network with a smaller first kernel"
        )
