"""Options of every data set: ``classes=``, ``limit=``, ``size=`` and ``gray=``."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, UsageError, unknown_name
from repsim_energy.interfaces import ImageSet

__all__ = ["balanced_prefix", "is_gray", "select"]

BLOCK_IMAGES = 256


def select(
    images: ImageSet,
    *,
    classes: tuple[str, ...] | None = None,
    limit: int | None = None,
    size: int | None = None,
    gray: bool = False,
) -> ImageSet:
    """Select classes and images, and convert their size and channels.

    Parameters
    ----------
    classes : classes to select, numbered in this order
    limit : maximum number of images in each split, spread evenly over the classes
    size : new height and width in pixels, bilinear with antialiasing
    gray : select one channel of images whose channels are equal, such as gray pictures in RGB

    Raises
    ------
    UsageError
        If a class does not exist, or ``limit`` or ``size`` is below 1.
    DataError
        If ``gray`` is given for images with colors.
    """
    pixels, labels, names = images.images, images.labels, images.classes
    if classes is not None:
        for name in classes:
            if name not in names:
                raise unknown_name("class", name, names)
        numbers = torch.tensor([names.index(name) for name in classes])
        member = labels[:, None] == numbers
        selected = member.any(1).nonzero()[:, 0]
        pixels, labels = _at(pixels, selected), member[selected].int().argmax(1)
        names = tuple(classes)
    if limit is not None:
        selected = balanced_prefix(labels, limit)
        pixels, labels = _at(pixels, selected), labels[selected]
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
    """Return whether all channels of each image are equal."""
    return all(bool((part == part[:, :1]).all()) for part in pixels.split(BLOCK_IMAGES))


def _at(pixels: Tensor, ascending: Tensor) -> Tensor:
    """Return the images at ascending indices. Do not copy if these are all images."""
    return pixels if len(ascending) == len(pixels) else pixels[ascending]


def balanced_prefix(labels: Tensor, limit: int | None) -> Tensor:
    """Return the ascending indices of at most ``limit`` items, drawn from the classes in turn.

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
    for source, target in zip(pixels.split(BLOCK_IMAGES), scaled.split(BLOCK_IMAGES), strict=True):
        part = F.interpolate(source.float(), (size, size), mode="bilinear", antialias=True)
        target.copy_(part.round().clamp(0, 255) if pixels.dtype == torch.uint8 else part)
    return scaled
