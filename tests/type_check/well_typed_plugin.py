"""A plugin with one thing of each kind, whose types are those of the hooks: mypy accepts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import repsim_energy as rs


class LargestFilter:
    """The larger of two banks' largest weights, divided by the smaller one's."""

    name = "largest_filter"
    operates_on: Literal["filters", "activations"] = "filters"
    direction: Literal["similarity", "distance"] = "distance"
    bounds = (1.0, float("inf"))
    invariances = frozenset({"permutation"})

    def __init__(self, *, power: float = 1.0) -> None:
        self.power = power

    def represent(self, subject: rs.FilterBank) -> NDArray[np.float64]:
        """Return the largest weight as an array of one number."""
        return np.array([subject.filters.abs().max().item() ** self.power])

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return the ratio of the larger to the smaller."""
        return float(max(a[0] / b[0], b[0] / a[0]))

    def null_interval(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return all that is possible."""
        return self.bounds


def small(num_classes: int, in_channels: int, *, width: int = 8) -> nn.Module:
    """Return a network of one convolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )


def given(num_classes: int, in_channels: int) -> rs.TrainedModel:
    """Return a network that was trained elsewhere."""
    return rs.TrainedModel(small(num_classes, in_channels))


class Family:
    """Networks of several widths, named by them."""

    def names(self) -> Iterator[str]:
        """Return the members."""
        return map(str, (8, 16))

    def __call__(self, name: str, num_classes: int, in_channels: int) -> nn.Module:
        """Return the network of this width."""
        return small(num_classes, in_channels, width=int(name))


def noise(split: str, *, count: int = 100) -> rs.ImageSet:
    """Return images of noise."""
    generator = torch.Generator().manual_seed(split == "test")
    images = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return rs.ImageSet(images, torch.zeros(count, dtype=torch.int64), ("noise",), "noise")


def inverted(images: rs.ImageSet) -> rs.ImageSet:
    """Return the negatives."""
    return _with_pixels(images, 255 - images.images)


def darkened(images: rs.ImageSet, train: rs.ImageSet, *, strength: float = 1.0) -> rs.ImageSet:
    """Return images without the mean of the training images."""
    mean = strength * train.images.float().mean()
    return _with_pixels(images, (images.images.float() - mean).clamp(0, 255).byte())


def _with_pixels(images: rs.ImageSet, pixels: Tensor) -> rs.ImageSet:
    return rs.ImageSet(pixels, images.labels, images.classes, images.name)


@rs.hookimpl
def repsim_metrics() -> Mapping[str, rs.Metric | Callable[..., rs.Metric] | str]:
    """Offer a class with options, an instance, and one that is imported when it is used."""
    return {"a": LargestFilter, "b": LargestFilter(power=2), "c": f"{__name__}:LargestFilter"}


@rs.hookimpl
def repsim_models() -> Mapping[str, rs.Architecture | rs.ModelFamily | str]:
    """Offer functions and a family."""
    return {"small": small, "given": given, "family/*": Family(), "lazy": f"{__name__}:small"}


@rs.hookimpl
def repsim_datasets() -> Mapping[str, rs.DatasetLoader | str]:
    """Offer a data set."""
    return {"noise": noise, "lazy": f"{__name__}:noise"}


@rs.hookimpl
def repsim_variants() -> Mapping[str, rs.DatasetVariant | str]:
    """Offer a variant with the training images, and one without."""
    return {"inverted": inverted, "darkened": darkened, "lazy": f"{__name__}:inverted"}
