"""The options that every data set has: ``classes=``, ``limit=``, ``size=`` and ``gray=``."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, UsageError, unknown_name
from repsim_energy.interfaces import ImageSet

__all__ = ["balanced_prefix", "is_gray", "select"]

AT_ONCE = 256
"""Images that are looked at or resized at once."""


def select(
    images: ImageSet,
    *,
    classes: tuple[str, ...] | None = None,
    limit: int | None = None,
    size: int | None = None,
    gray: bool = False,
) -> ImageSet:
    """Return a part of an image set.

    Parameters
    ----------
    classes : keep these classes, numbered in this order
    limit : at most so many images of each split, spread evenly over the classes
    size : height and width in pixels, bilinear with antialiasing
    gray : one channel of images whose channels are all the same, as of gray pictures in RGB

    Raises
    ------
    UsageError
        For classes that there are not.
    DataError
        For ``gray`` of images with colors.
    """
    pixels, labels, names = images.images, images.labels, images.classes
    if classes is not None:
        for name in classes:
            if name not in names:
                raise unknown_name("class", name, names)
        numbers = torch.tensor([names.index(name) for name in classes])
        member = labels[:, None] == numbers
        kept = member.any(1).nonzero()[:, 0]
        pixels, labels, names = _at(pixels, kept), member[kept].int().argmax(1), tuple(classes)
    if limit is not None:
        chosen = balanced_prefix(labels, limit)
        pixels, labels = _at(pixels, chosen), labels[chosen]
    if gray:
        if not is_gray(pixels):
            raise DataError(
                f"images of '{images.name}' have colors, got gray=true, expected channels that are "
                "all the same; leave gray= out, or convert the images"
            )
        pixels = pixels[:, :1].contiguous()
    if size is not None:
        pixels = _resized(pixels, size)
    return replace(images, images=pixels, labels=labels, classes=names)


def is_gray(pixels: Tensor) -> bool:
    """Return whether all channels are the same."""
    return all(bool((part == part[:, :1]).all()) for part in pixels.split(AT_ONCE))


def _at(pixels: Tensor, ascending: Tensor) -> Tensor:
    """Return the images at these places; all of them as they are, not copied."""
    return pixels if len(ascending) == len(pixels) else pixels[ascending]


def balanced_prefix(labels: Tensor, limit: int | None) -> Tensor:
    """Return the indices, ascending, of at most ``limit`` items, class by class in turn.

    Examples
    --------
    >>> balanced_prefix(torch.tensor([0, 0, 0, 0, 1, 1]), 4).tolist()
    [0, 1, 4, 5]
    """
    if limit is None:
        return torch.arange(len(labels))
    if limit < 1:
        raise UsageError(f"limit is {limit}, expected the number of images to keep, at least 1")
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        of_label = labels == label
        rank[of_label] = torch.arange(int(of_label.sum()))
    order = torch.argsort(rank, stable=True)[:limit]
    return order.sort().values


def _resized(pixels: Tensor, size: int) -> Tensor:
    if size < 1:
        raise UsageError(f"size is {size}, expected pixels, at least 1")
    scaled = pixels.new_empty((len(pixels), pixels.shape[1], size, size))
    if len(pixels) == 0:
        return scaled
    for source, target in zip(pixels.split(AT_ONCE), scaled.split(AT_ONCE), strict=True):
        part = F.interpolate(source.float(), (size, size), mode="bilinear", antialias=True)
        target.copy_(part.round().clamp(0, 255) if pixels.dtype == torch.uint8 else part)
    return scaled
