"""Validation of images and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["channels_last", "is_finite", "problem_of"]

PART_PIXELS = 2**24
"""Pixel values that are validated at once."""


def problem_of(images: Tensor, labels: Tensor, class_count: int) -> str | None:
    """Return a description of the first problem of the pixels and labels, or ``None``.

    Parameters
    ----------
    images : (n, c, h, w)
    labels : (n,)
    class_count : number of classes that the labels refer to; 0 for images without labels
    """
    if channels_last(images.shape):
        return (
            f"images have shape {tuple(images.shape)}, which is (n, h, w, c), expected (n, c, h, w)"
        )
    if str(images.dtype) != "torch.uint8" and not images.is_floating_point():
        return f"images are {images.dtype}, expected uint8 (0 to 255) or float"
    if not is_finite(images):
        return "images hold NaN or infinite numbers, expected finite ones"
    if str(labels.dtype) != "torch.int64":
        return f"labels are {labels.dtype}, expected int64 indices into the classes"
    if len(images) and not 0 <= labels.min() <= labels.max() < max(1, class_count):
        low, high = int(labels.min()), int(labels.max())
        return (
            f"labels go from {low} to {high}, expected 0 to {class_count - 1} for {class_count} "
            "classes"
        )
    return None


def is_finite(images: Tensor) -> bool:
    """Return True if no pixel is NaN or infinite, without a copy of all images."""
    if not images.is_floating_point():
        return True
    count = max(1, PART_PIXELS // max(1, images.shape[1:].numel()))
    return all(part.isfinite().all() for part in images.split(count))


def channels_last(shape: Sequence[int]) -> bool:
    """Return whether a shape of four axes is that of (n, h, w, c) images of light."""
    return len(shape) == 4 and shape[3] <= 4 < min(shape[1], shape[2])
