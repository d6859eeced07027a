"""The model ``crbm``: filters of a convolutional restricted Boltzmann machine."""

from __future__ import annotations

import hashlib
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from repsim_energy.errors import FileError, RepsimError, ShapeError, UsageError, warn
from repsim_energy.files.seals import sealed_tensors, unsealed_tensors
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path, mark_used
from repsim_energy.interfaces import ImageSet, TrainedModel
from repsim_energy.models.patch_size import patch_size
from repsim_energy.numerics.crbm.network import train_network
from repsim_energy.numerics.crbm.train import CrbmOptions
from repsim_energy.numerics.crbm.whitening import KERNEL_SIDE, whitening_kernel

__all__ = ["crbm"]

ENDING = ".sealed"
"""Of a file of filters in the cache."""

VERSION = 1
"""Number of the algorithm, to be increased when other filters come out."""

_trained: WeakKeyDictionary[ImageSet, dict[str, Tensor]] = WeakKeyDictionary()
"""Filters of images that still exist, by their key in the cache."""


def crbm(
    num_classes: int,
    in_channels: int,
    images: ImageSet,
    *,
    patch: str = "3x3",
    filters: int = 24,
    space: Literal["whitened", "pixels"] = "whitened",
    pool: int = 2,
    sparsity: float = 0.03,
    steps: int = 1000,
    lr: float = 0.03,
    decay: float = 0.03,
    seed: int = 0,
) -> TrainedModel:
    """Train filters on whitened images as the first layer of a convolutional deep belief network.

    They are filters of gray images. Of c channels, each channel has 1/c of their weights.

    Parameters
    ----------
    patch : height and width of the filters, such as 5x3, or 5 for 5x5
    filters : number of filters, 24 in the publication
    space : whitened for the filters of whitened images; pixels for those of the images, which are
        whitening and filter in one convolution. Whitening has 7x7 pixels
    pool : side of the blocks in which at most one hidden unit is active
    sparsity : mean activation of the hidden units
    steps : gradient steps, each on 8 regions of images
    lr : step size
    decay : factor of the weight decay
    seed : of initial weights, regions and hidden units
    """
    if images.transform is not None:
        raise UsageError(
            f"patches of '{images.name}' are transformed, expected unchanged images for model "
            "'crbm'; leave the variant out"
        )
    size = _weights_size(patch_size(patch), space)
    options = CrbmOptions(filters, size, pool, sparsity, steps, lr, decay)
    bank = _filters(images, options, seed)
    if space == "pixels":
        bank = _joined(bank, whitening_kernel(images.images))
    bank = bank.expand(-1, in_channels, -1, -1) / in_channels
    n, c, h, w = bank.shape
    conv = nn.Conv2d(c, n, (h, w), bias=False, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(bank)
    return TrainedModel(nn.Sequential(conv), network=False)


def _weights_size(patch: tuple[int, int], space: str) -> tuple[int, int]:
    """Return height and width of the weights of filters of a size."""
    if space == "whitened":
        return patch
    if min(patch) < KERNEL_SIDE:
        raise ShapeError(
            f"got patch={patch[0]}x{patch[1]} with space=pixels, expected at least "
            f"{KERNEL_SIDE}x{KERNEL_SIDE}, the size of the whitening alone; use patch=15, or "
            "space=whitened"
        )
    return patch[0] - KERNEL_SIDE + 1, patch[1] - KERNEL_SIDE + 1


def _joined(bank: Tensor, kernel: Tensor) -> Tensor:
    """Return the filters that are whitening and the filters of a bank in one convolution."""
    return functional.conv_transpose2d(bank, kernel[None, None])


def _filters(images: ImageSet, options: CrbmOptions, seed: int) -> Tensor:
    """Return filters of whitened images, which are trained once for the same images and options."""
    text = f"{VERSION} {torch.__version__} {images.image_fingerprint} {options} {seed}"
    key = hashlib.sha256(text.encode()).hexdigest()
    known = _trained.setdefault(images, {})
    if key not in known:
        bank = _stored(key)
        if bank is None:
            bank = train_network(images.images, [options], seed=seed)[0].layer.filters
            _store(key, bank)
        known[key] = bank
    return known[key]


def _stored(key: str) -> Tensor | None:
    """Return filters from the cache, or None if they are missing or damaged."""
    path = cache_path("crbm", f"{key}{ENDING}")
    try:
        tensors, _ = unsealed_tensors(path.read_bytes(), path, "they are trained again")
        mark_used(path)
        return tensors["filters"]
    except FileError as error:
        warn(f"filters of crbm: {error}")
        return None
    except OSError:
        return None


def _store(key: str, bank: Tensor) -> None:
    try:
        with atomic_path(cache_folder("crbm") / f"{key}{ENDING}") as path:
            path.write_bytes(sealed_tensors({"filters": bank}))
    except RepsimError as error:
        warn(
            f"the filters of crbm are trained again each time, because they cannot be cached: "
            f"{error}"
        )
