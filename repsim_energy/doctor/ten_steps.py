"""Ten training steps of a tiny network, whose result is stored."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_energy.doctor.inputs import smooth_images
from repsim_energy.interfaces import Dataset, ImageSet
from repsim_energy.training.recipe import Recipe

__all__ = ["RECIPE", "SEEDS", "data", "network", "train_in_float64"]

SEEDS = (0, 10)
"""Seeds for which rounding to float32 changes no decision of ReLU or pooling."""

RECIPE = Recipe(
    lr=0.05, momentum=0.9, weight_decay=1e-3, batch=16, steps=10, snapshots=0, evaluations=1
)

TRAIN_IMAGES, TEST_IMAGES = 48, 24

CLASSES = tuple("abcd")


def network(classes: int, channels: int) -> nn.Sequential:
    """Return a new network with the layers of the built-in models."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, classes),
    )


@functools.cache
def data() -> Dataset:
    """Return training and test images of four classes, which differ in brightness."""
    labels = np.arange(TRAIN_IMAGES + TEST_IMAGES, dtype=np.int64) % len(CLASSES)
    brightness = (24 * labels).astype(np.uint8)[:, None, None, None]
    images = smooth_images(TRAIN_IMAGES + TEST_IMAGES, 3, 12, 12, seed=5) // 2 + brightness
    train, test = (
        ImageSet(
            torch.from_numpy(images[part]), torch.from_numpy(labels[part]), CLASSES, "ten steps"
        )
        for part in (slice(TRAIN_IMAGES), slice(TRAIN_IMAGES, None))
    )
    return Dataset("ten steps", train, test)


def train_in_float64(seed: int) -> dict[str, NDArray[np.float64]]:
    """Train step by step in float64.

    Returns
    -------
    ``init`` and ``trained``, the (6, 3, 3, 3) filters; ``loss`` (steps,), the training loss;
    ``test_loss``, the final loss on the test images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module = network(len(CLASSES), 3).double()
    filters, weights = module.get_parameter("0.weight"), list(module.parameters())
    initial = filters.detach().numpy().copy()
    velocities = [torch.zeros_like(w) for w in weights]
    inputs, labels = _normalized(data().train), data().train.labels
    losses = []
    for batch in _batches(seed):
        loss = F.cross_entropy(module(inputs[batch]), labels[batch])
        losses.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, velocity, gradient in zip(weights, velocities, gradients, strict=True):
                velocity.mul_(RECIPE.momentum).add_(gradient + RECIPE.weight_decay * w)
                w.sub_(RECIPE.lr * velocity)
    module.eval()
    test_loss = F.cross_entropy(module(_normalized(data().test)), data().test.labels)
    return {
        "init": initial,
        "trained": filters.detach().numpy(),
        "loss": np.array(losses),
        "test_loss": test_loss.detach().numpy(),
    }


def _batches(seed: int) -> list[Tensor]:
    """Return the image indices of each step. Every epoch uses a new order of all images."""
    generator = torch.Generator().manual_seed(seed)
    epochs = [
        torch.randperm(TRAIN_IMAGES, generator=generator).split(RECIPE.batch) for _ in range(4)
    ]
    return [batch for epoch in epochs for batch in epoch][: RECIPE.steps]


def _normalized(images: ImageSet) -> Tensor:
    """Subtract the channel means and divide by the standard deviation of the training images."""
    pixels = data().train.images.double() / 255
    mean = pixels.mean((0, 2, 3), keepdim=True)
    return (images.images.double() / 255 - mean) / (pixels - mean).square().mean().sqrt()
