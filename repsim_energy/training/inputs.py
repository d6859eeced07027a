"""Images as the input of networks: normalization, scaling, data type and layout."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from repsim_energy.errors import DataError
from repsim_energy.interfaces import ImageSet, Normalization
from repsim_energy.progress import working

__all__ = [
    "CHANNELS_LAST",
    "LAYOUTS",
    "as_input",
    "as_pixels",
    "layouts_of",
    "normalization_of",
    "normalize_pixels",
]

CHANNELS_LAST = torch.channels_last
LAYOUTS = (CHANNELS_LAST, torch.contiguous_format)
"""Memory layouts of images: the fastest for convolutions, and the one that ``view`` needs."""

MIN_CHANNELS = 16
"""Input channels from which on a strided 1x1 convolution is safe with channels last."""

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
    values = as_pixels(part).double()
    return values.sum((0, 2, 3)), float(values.square_().sum())


def _parts(images: Tensor) -> tuple[Tensor, ...]:
    """Split images into parts whose copies take little memory."""
    size = max(1, images.shape[1:].numel())
    parts: tuple[Tensor, ...] = images.split(max(1, min(PART_IMAGES, PART_BYTES // size)))
    return parts


def as_pixels(images: Tensor) -> Tensor:
    """Return images as float32, those of uint8 divided by 255."""
    values = images.detach().float()
    return values / 255 if images.dtype == torch.uint8 else values


def layouts_of(module: nn.Module) -> tuple[torch.memory_format, ...]:
    """Return the memory layouts in which a network may be trained, the fastest first.

    Networks with a strided 1x1 convolution of few input channels are trained on contiguous images
    alone, on every machine. With channels last, the gradient of its weight is written outside its
    memory: wrong numbers, a crash or a hang (https://github.com/uxlfoundation/oneDNN/issues/6035;
    found in torch 2.10 to 2.15 below 8 channels with AVX2, and below 16 with AVX-512).
    """
    return LAYOUTS[1:] if any(map(_needs_contiguous, module.modules())) else LAYOUTS


def _needs_contiguous(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.groups == 1
        and layer.in_channels < MIN_CHANNELS
    )


def as_input(
    images: Tensor,
    normalization: Normalization,
    module: nn.Module | None = None,
    layout: torch.memory_format = CHANNELS_LAST,
) -> Tensor:
    """Return the (n, c, h, w) network input of a batch of uint8 or float images.

    It is computed in float32 and converted to the dtype of the network's weights.
    """
    return normalize_pixels(as_pixels(images), normalization, module, layout)


def normalize_pixels(
    pixels: Tensor,
    normalization: Normalization,
    module: nn.Module | None = None,
    layout: torch.memory_format = CHANNELS_LAST,
) -> Tensor:
    """Return the network input of float32 pixels, through which gradients pass.

    Parameters
    ----------
    pixels : (n, c, h, w), those of uint8 images divided by 255
    """
    mean, std = (
        _of_channels(tuple(values), pixels.device)
        for values in (normalization.mean, normalization.std)
    )
    scaled = (pixels - mean) / std
    if normalization.reverse:
        scaled = scaled.flip(1)
    weights = () if module is None else (p for p in module.parameters() if p.is_floating_point())
    dtype = next((p.dtype for p in weights), torch.float32)
    return scaled.to(dtype).contiguous(memory_format=layout)


@lru_cache(maxsize=64)
def _of_channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return float32 numbers of channels as (c, 1, 1) on a device, the same tensor each time.

    To copy them to a GPU for every batch would wait for the batch before.
    """
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
