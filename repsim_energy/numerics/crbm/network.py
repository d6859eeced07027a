"""A convolutional deep belief network: layers that are trained one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from repsim_energy.errors import ShapeError
from repsim_energy.numerics.crbm.layer import Crbm
from repsim_energy.numerics.crbm.train import CrbmOptions, CrbmTraining, train_crbm
from repsim_energy.numerics.crbm.whitening import whitened, whitening_kernel

__all__ = ["bases", "train_network"]

MAX_HIDDEN = 24
"""Largest side of the hidden maps in training."""

BATCH = 8
"""Regions of images in a step."""


def train_network(
    images: Tensor, layers: Sequence[CrbmOptions], *, seed: int = 0
) -> list[CrbmTraining]:
    """Train a convolutional deep belief network on whitened gray images, layer by layer.

    The first layer has real visible units, the whitened pixels. The visible units of each further
    layer are the probabilities of the pooling units below, and those layers stay as they are
    (greedy training; Lee et al. 2009). A step uses 8 random regions of the images.

    Parameters
    ----------
    images : (n, c, h, w), uint8 or float
    layers : options of each layer
    seed : of all random numbers

    Returns
    -------
    list of CrbmTraining

    Raises
    ------
    ShapeError
        For images that are too small for the layers.
    DataError
        For images without contrast.
    TrainingError
        If a number overflows.
    """
    kernel = whitening_kernel(images)
    trained: list[CrbmTraining] = []
    for number, options in enumerate(layers):
        below = [training.layer for training in trained]
        size = _region(images, kernel, [*layers[:number], options])

        def draw(
            generator: torch.Generator, size: tuple[int, int] = size, below: list[Crbm] = below
        ) -> Tensor:
            visible = whitened(_regions(images, size, generator), kernel)
            for layer in below:
                visible = layer.pooled(visible)
            return visible

        label = f"training crbm, layer {number + 1}"
        trained.append(train_crbm(draw, options, real=not number, seed=seed, label=label))
    return trained


def _region(images: Tensor, kernel: Tensor, layers: Sequence[CrbmOptions]) -> tuple[int, int]:
    """Return height and width of regions whose last hidden maps consist of whole blocks."""
    height, width = (
        _side(int(images.shape[2 + axis]), int(kernel.shape[axis]) - 1, layers, axis)
        for axis in (0, 1)
    )
    return height, width


def _side(image: int, lost: int, layers: Sequence[CrbmOptions], axis: int) -> int:
    """Return one side of a region: the largest that is needed and available.

    The last hidden maps have at least the side of the filters, so that as many hidden units as
    possible reach some visible unit.
    """
    *below, last = layers
    available = image - lost
    for layer in below:
        available = (available - layer.patch[axis] + 1) // layer.pool
    blocks = min(available - last.patch[axis] + 1, MAX_HIDDEN) // last.pool
    side = max(blocks, -(-last.patch[axis] // last.pool)) * last.pool + last.patch[axis] - 1
    for layer in reversed(below):
        side = side * layer.pool + layer.patch[axis] - 1
    if side + lost > image:
        raise ShapeError(
            f"got images with a side of {image} pixels, expected at least {side + lost} for these "
            "filters; use a smaller patch= or pool=, or larger images"
        )
    return side + lost


def _regions(images: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Return random regions of random images."""
    n, _, h, w = images.shape
    limits = (n, h - size[0] + 1, w - size[1] + 1)
    drawn = [torch.randint(limit, (BATCH,), generator=generator).tolist() for limit in limits]
    regions = [
        images[i, :, top : top + size[0], left : left + size[1]]
        for i, top, left in zip(*drawn, strict=True)
    ]
    return torch.stack(regions)


def bases(layers: Sequence[Crbm]) -> Tensor:
    """Return what each hidden unit of the last layer adds to the whitened image.

    A basis of the first layer is its filter. A basis of a further layer is the sum of the bases
    below, shifted and weighted by its filter. The weight of a pooling unit is spread evenly over
    the units of its block.

    Source: Lee et al. (2009), section 4.1: "weighted linear combination" of the bases below.

    Parameters
    ----------
    layers : from the first

    Returns
    -------
    (k, 1, h, w)
    """
    images = layers[-1].filters
    for layer in reversed(layers[:-1]):
        spread = images.repeat_interleave(layer.pool, 2).repeat_interleave(layer.pool, 3)
        images = functional.conv_transpose2d(spread / layer.pool**2, layer.filters)
    return images
