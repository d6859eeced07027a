"""Images as the input of networks: normalization, scaling, data type and layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from repsim_energy.errors import DataError
from repsim_energy.interfaces import ImageSet, Normalization
from repsim_energy.progress import working

__all__ = ["CHANNELS_LAST", "LAYOUTS", "as_input", "normalization_of"]

CHANNELS_LAST = torch.channels_last
LAYOUTS = (CHANNELS_LAST, torch.contiguous_format)
"""Memory layouts of images: the fastest for convolutions, and the one that ``view`` needs."""

PART_IMAGES, PART_BYTES = 1024, 1024 * 3 * 64 * 64
"""Images that are summed at once, and their bytes as uint8, which limit larger images."""


STORED = "_normalization"
"""The attribute of an image set that stores its normalization, once it has been computed."""


def normalization_of(images: ImageSet) -> Normalization:
    """Return the channel means and one common standard deviation of an image set.

    One number for all channels keeps the principal components of the input those of the images.

    All pixels are read once. The result is stored with the image set, as its fingerprints are, and
    travels with it to other processes.

    Raises
    ------
    DataError
        For no images, constant images, and NaN or infinite pixels.
    """
    stored = vars(images)
    if STORED not in stored:
        stored[STORED] = _compute_normalization(images)
    normalization: Normalization = stored[STORED]
    return normalization


def _compute_normalization(images: ImageSet) -> Normalization:
    if len(images) == 0:
        raise DataError(
            f"'{images.name}' holds no images to train on, expected at least one; "
            "check its path, classes= and limit="
        )
    channels = images.images.shape[1]
    count, square = images.images[:, 0].numel(), 0.0
    total = torch.zeros(channels, dtype=torch.float64, device=images.images.device)
    with working(f"mean and deviation of {images.name}", len(images), "images") as advance:
        for part in _parts(images.images):
            sums, squares = _sums(part)
            total += sums
            square += squares
            advance(len(part))
    if not math.isfinite(square):  # one such pixel is enough
        raise DataError(f"the images of '{images.name}' hold NaN or infinite values; clean them")
    mean = total / count
    variance = square / (count * channels) - float(mean.square().mean())
    if not variance > 1e-12:
        raise DataError(f"the images of '{images.name}' are constant, expected images that differ")
    return Normalization(tuple(mean.tolist()), (float(variance**0.5),) * channels)


def _sums(part: Tensor) -> tuple[Tensor, float]:
    """Return the (c,) sums of the channels' values, and the sum of all squares."""
    values = _unit(part).double()
    return values.sum((0, 2, 3)), float(values.square_().sum())


def _parts(images: Tensor) -> tuple[Tensor, ...]:
    """Split images into parts whose copies take little memory."""
    size = max(1, images.shape[1:].numel())
    parts: tuple[Tensor, ...] = images.split(max(1, min(PART_IMAGES, PART_BYTES // size)))
    return parts


def _unit(images: Tensor) -> Tensor:
    values = images.detach().float()
    return values / 255 if images.dtype == torch.uint8 else values


def as_input(
    images: Tensor,
    normalization: Normalization,
    module: nn.Module | None = None,
    layout: torch.memory_format = CHANNELS_LAST,
) -> Tensor:
    """Return the (n, c, h, w) network input of a batch of uint8 or float images.

    It is computed in float32 and converted to the dtype of the network's weights.
    """
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1)
        for values in (normalization.mean, normalization.std)
    )
    scaled = (_unit(images) - mean) / std
    if normalization.reverse:
        scaled = scaled.flip(1)
    weights = () if module is None else (p for p in module.parameters() if p.is_floating_point())
    dtype = next((p.dtype for p in weights), torch.float32)
    return scaled.to(dtype).contiguous(memory_format=layout)
