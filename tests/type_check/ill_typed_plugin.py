"""A plugin whose types contradict those of the hooks: mypy names each mistake.

A line with a mistake ends with ``# error:`` and the code that mypy gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

import repsim_energy as rs


class NoNullBand:
    """A metric without the values that unrelated networks have."""

    name = "no_null_interval"
    operates_on: Literal["filters", "activations"] = "filters"
    direction: Literal["similarity", "distance"] = "similarity"
    bounds = (-1.0, 1.0)
    invariances = frozenset({"permutation"})

    def represent(self, subject: rs.FilterBank) -> NDArray[np.float64]:
        """Return one number."""
        return np.ones(1)

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return one."""
        return 1.0


class ComparesInWords(NoNullBand):
    """A metric that answers in words."""

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> str:  # error: override
        """Return words."""
        return "alike"

    def null_interval(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return all that is possible."""
        return self.bounds


def one_argument(num_classes: int) -> nn.Module:
    """Return a network, of images with three channels whatever is asked for."""
    return nn.Conv2d(3, num_classes, 3)


def gives_filters(num_classes: int, in_channels: int) -> NDArray[np.float64]:
    """Return filters, not a network that has them."""
    return np.ones((num_classes, in_channels, 3, 3))


class FamilyWithoutNames:
    """A family that cannot say whom it holds."""

    def __call__(self, name: str, num_classes: int, in_channels: int) -> nn.Module:
        """Return the network of this name."""
        return nn.Conv2d(in_channels, num_classes, 3)


def numbered(split: int) -> rs.ImageSet:
    """Return a split by its number."""
    raise NotImplementedError


def gives_arrays(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images and labels that are not in an ``ImageSet``."""
    raise NotImplementedError


def in_place(images: rs.ImageSet) -> None:
    """Change images and return nothing."""
    images.images.neg_()


@rs.hookimpl
def repsim_metrics() -> Mapping[str, rs.Metric | Callable[..., rs.Metric] | str]:
    """Offer metrics that lack a method, or have one of another type."""
    return {
        "class": NoNullBand,  # error: dict-item
        "instance": NoNullBand(),  # error: dict-item
        "words": ComparesInWords(),  # error: dict-item
    }


@rs.hookimpl
def repsim_models() -> Mapping[str, rs.Architecture | rs.ModelFamily | str]:
    """Offer builders with other parameters, or of other things."""
    return {
        "one_argument": one_argument,  # error: dict-item
        "gives_filters": gives_filters,  # error: dict-item
        "nameless/*": FamilyWithoutNames(),  # error: dict-item
    }


@rs.hookimpl
def repsim_datasets() -> Mapping[str, rs.DatasetLoader | str]:
    """Offer loaders with another split, or of other things."""
    return {
        "numbered": numbered,  # error: dict-item
        "gives_arrays": gives_arrays,  # error: dict-item
    }


@rs.hookimpl
def repsim_variants() -> Mapping[str, rs.DatasetVariant | str]:
    """Offer a variant that returns nothing."""
    return {"in_place": in_place}  # error: dict-item
