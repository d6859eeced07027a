"""Image sets from arrays, and from torch data sets and loaders."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, default_collate

from repsim_energy.errors import DataError, ShapeError, warn
from repsim_energy.interfaces import ImageSet
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.progress import working

__all__ = ["image_set_of", "image_set_of_items"]

MAX_CHANNELS = 4
"""Gray or RGB, each with or without transparency. Only axes up to this length can be channels."""

MAX_BYTE = 255


def image_set_of(
    images: Any,
    labels: Any = None,
    *,
    name: str,
    classes: tuple[str, ...] = (),
) -> ImageSet:
    """Build an image set from arrays whose layout is unambiguous.

    Parameters
    ----------
    images : (n, c, h, w), (n, h, w, c) or gray (n, h, w); a tensor, an array or nested lists of
        integers from 0 to 255, or of floats. Floats that reach 255 count as bytes
    labels : (n,) or (n, 1) integers, or (n, classes) one-hot rows; ``None`` for no labels
    name : name of the set, for results and errors
    classes : names of the first classes; the other ones are named by their number

    Raises
    ------
    ShapeError
        If the layout of the images is ambiguous or unknown, or there is not one label per image.
    DataError
        If values are not pixels or labels.

    Warns
    -----
    RepsimWarning
        If floats are read as bytes, or exceed 1 and are used unchanged.
    """
    if labels is not None and np.ndim(labels) == 1 and any(isinstance(x, str) for x in labels):
        raise DataError(
            f"'{name}': labels are texts such as '{labels[0]}', expected the numbers of classes, "
            "0, 1, ...; number them, such as with numpy.unique(labels, return_inverse=True)[1]"
        )
    given = None if labels is None else _tensor(labels)
    count = len(given) if given is not None and given.ndim else None
    pixels = _pixels(_channels_first(_tensor(images), count, name), name)
    if given is None:
        return ImageSet(pixels, torch.zeros(len(pixels), dtype=torch.int64), (), name)
    numbers = _labels(given, len(pixels), name)
    highest = max(0, int(numbers.max())) if len(numbers) else 0
    names = (*classes, *(str(i) for i in range(len(classes), highest + 1)))
    return ImageSet(pixels, numbers, names, name)


def image_set_of_items(items: Dataset[Any] | DataLoader[Any]) -> ImageSet:
    """Read the images and labels of a torch ``Dataset`` or ``DataLoader`` once.

    A shuffling loader is read in the order of its data set.

    Raises
    ------
    DataError
        If items are not pairs (image, label).
    """
    batched = isinstance(items, DataLoader)
    source: Any = items
    if isinstance(items, DataLoader):
        plain = items.collate_fn is default_collate and not items.drop_last
        if isinstance(items.sampler, RandomSampler) and plain:
            source, batched = items.dataset, False
    data = items.dataset if isinstance(items, DataLoader) else items
    name = type(data).__name__
    numbered = not batched and hasattr(source, "__len__")
    parts = _read_each(source, numbered, name)
    if not parts or not all(isinstance(part, tuple | list) and len(part) == 2 for part in parts):
        got = type(parts[0]).__name__ if parts else "none"
        raise DataError(
            f"items of {name} are {got}, expected pairs (image, label); give images and labels"
        )
    images = [_tensor(np.asarray(p) if hasattr(p, "getbands") else p) for p, _ in parts]
    labels = [_tensor(label) for _, label in parts]
    if len({image.shape[1 if batched else 0 :] for image in images}) > 1:
        raise DataError(f"images of {name} differ in size, expected one; resize them")
    join = torch.cat if batched else torch.stack
    names = getattr(data, "classes", ())
    known = isinstance(names, list | tuple) and all(isinstance(n, str) for n in names)
    classes = tuple(names) if known else ()
    return image_set_of(join(images), join(labels), name=name, classes=classes)


def _read_each(source: Any, numbered: bool, name: str) -> list[Any]:
    """Return the items of a torch data set, or the batches of a loader."""
    items = (source[i] for i in range(len(source))) if numbered else iter(source)
    parts: list[Any] = []
    unit, count = ("images" if numbered else "items"), len(source) if numbered else None
    with working(f"reading {name}", count, unit) as advance:
        for item in items:
            parts.append(item)
            advance(1)
    return parts


def _tensor(values: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError as error:
        raise ShapeError("lists differ in length, expected those of one array") from error
    if array.dtype in (np.uint16, np.uint32, np.uint64):  # torch supports few operations on these
        array = array.astype(np.int64)
    return tensor_of(array)


def _channels_first(pixels: Tensor, labels: int | None, name: str) -> Tensor:
    """Return (n, c, h, w) images if the shape and the number of labels are unambiguous."""
    shape = tuple(pixels.shape)
    if len(shape) == 3 and (labels == shape[0] or min(shape[0], shape[2]) > MAX_CHANNELS):
        return pixels[:, None]
    if len(shape) == 4:
        layout = _layout(shape)
        if layout is not None:
            return pixels if layout == "nchw" else pixels.movedim(3, 1).contiguous()
    raise ShapeError(
        f"'{name}': images have shape {shape}, expected (n, c, h, w), (n, h, w, c) or gray "
        f"(n, h, w){_meanings(shape)}"
    )


def _layout(shape: tuple[int, ...]) -> str | None:
    """Return the only layout with few channels, else the only one with square images."""
    _, a, b, c = shape
    few_channels = {"nchw": a <= MAX_CHANNELS, "nhwc": c <= MAX_CHANNELS}
    square = {"nchw": b == c, "nhwc": a == b}
    for criterion in (few_channels, square):
        layouts = [layout for layout, matches in criterion.items() if matches]
        if len(layouts) == 1:
            return layouts[0]
    return None


def _meanings(shape: tuple[int, ...]) -> str:
    """List the possible meanings of a shape and the remedy."""
    if len(shape) == 4:
        n, a, b, c = shape
        return (
            f"; these could be {n} images of {b}x{c} with {a} channels, or of {a}x{b} with {c}; "
            "give an ImageSet, whose images are (n, c, h, w)"
        )
    if len(shape) == 3:
        a, b, c = shape
        return (
            f"; these could be {a} gray images of {b}x{c}, or one image; "
            "give four axes, (n, c, h, w)"
        )
    if len(shape) == 2:
        return f"; these could be {shape[0]} images with their {shape[1]} pixels in a row; reshape"
    return "; or a pair (images, labels) with one label per image, (n,)"


def _pixels(pixels: Tensor, name: str) -> Tensor:
    """Return integers from 0 to 255 as uint8, and floats."""
    if pixels.dtype == torch.uint8 or pixels.numel() == 0:
        return pixels
    if pixels.dtype == torch.bool or pixels.is_complex():
        return pixels  # ImageSet refuses them
    low, high = (float(end) for end in pixels.aminmax())
    described = f"'{name}': images are {pixels.dtype} from {low:.4g} to {high:.4g}"
    if not pixels.is_floating_point():
        if low >= 0 and 1 < high <= MAX_BYTE:
            return pixels.to(torch.uint8)
        raise DataError(
            f"{described}, expected uint8 or float (bytes to 255, floats to 1); convert them"
        )
    if not (low >= 0 and high > 1):
        return pixels  # from 0 to 1, normalized, or not finite
    if high <= MAX_BYTE and bool((pixels == pixels.round()).all()):
        warn(f"{described}, all whole numbers: read as bytes")
        return pixels.to(torch.uint8)
    if MAX_BYTE / 2 < high <= MAX_BYTE:
        warn(f"{described}: divided by 255")
        return pixels / MAX_BYTE
    warn(f"{described}, neither 0..1 nor 0..255: used unchanged")
    return pixels


def _labels(labels: Tensor, count: int, name: str) -> Tensor:
    """Return (n,) int64 labels from numbers, a column of numbers, or one-hot rows."""
    if labels.dtype == torch.bool:
        labels = labels.to(torch.uint8)
    if labels.is_complex() or bool((labels != labels.round()).any()):
        raise DataError(
            f"'{name}': labels are {labels.dtype}, expected whole numbers; convert them"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and len(labels) == count:
        if not bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise DataError(
                f"'{name}': labels have shape {tuple(labels.shape)} and several numbers other "
                "than 0 in a row, expected one label per image; choose one of them"
            )
        labels = labels.to(torch.uint8).argmax(1)
    if labels.shape != (count,):
        raise ShapeError(
            f"'{name}': labels have shape {tuple(labels.shape)}, expected ({count},); give one "
            "label per image"
        )
    return labels.to(torch.int64)
