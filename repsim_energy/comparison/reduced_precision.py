"""Forward passes in bfloat16: where they are possible, and how much they change similarities."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.comparison.layers import batches_of
from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.interfaces import ImageSet, Metric
from repsim_energy.training.device import multiplies_bfloat16

__all__ = ["Change", "change_of", "check_precision", "first_images"]

PRECISIONS = ("float32", "bfloat16")

CHECKED_IMAGES = 250
"""Maximum number of images that are shown in both precisions."""

MAX_CHANGE = 0.005
"""Largest change of a similarity that is accepted: half of the second decimal, to which
similarities are usually read and published."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """How much bfloat16 changes the similarities of all pairs of layers.

    Parameters
    ----------
    largest, median : of the absolute differences from float32; NaN if no similarity is defined
    images : number of images
    pair : numbers of the two layers whose similarity changes most
    """

    largest: float
    median: float
    images: int
    pair: tuple[int, int] = (0, 0)

    def attributes(self) -> dict[str, str]:
        """Return what a result records."""
        return {
            "precision": "bfloat16",
            "precision_change": f"{self.largest:.2g}",
            "precision_median_change": f"{self.median:.2g}",
            "precision_images": str(self.images),
        }

    def refuse_if_large(self, metric: Metric, called: Callable[[int], str]) -> None:
        """Refuse bfloat16 if it changes a similarity by more than :data:`MAX_CHANGE`.

        Parameters
        ----------
        called : number of a layer -> its name

        Raises
        ------
        UsageError
            Naming the pair that changes most.
        """
        if self.largest > MAX_CHANGE:
            by = f"by {self.largest:.2g}" if math.isfinite(self.largest) else "to or from NaN"
            raise UsageError(
                f"got precision=bfloat16, which changes '{metric.name}' of "
                f"{' and '.join(map(called, self.pair))} {by} on {self.images} images, expected "
                f"at most {MAX_CHANGE}; leave it out"
            )


def check_precision(precision: str, metric: Metric, device: torch.device) -> None:
    """Refuse a precision that is unknown, slow on this machine, or whose error has no limit.

    Raises
    ------
    UsageError
        With the remedy.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    if precision == "float32":
        return
    if not all(map(math.isfinite, metric.bounds)):
        raise UsageError(
            f"got precision=bfloat16, which is for metrics with two bounds, and '{metric.name}' "
            "has not, so that no change of it is known to be small; leave it out"
        )
    if not multiplies_bfloat16(device):
        raise UsageError(
            "got precision=bfloat16, for which this processor has no units or may not use them, so "
            "that float32 is faster; leave it out"
        )


def first_images(images: Sequence[ImageSet], metric: Metric) -> list[ImageSet]:
    """Return the images that are shown in both precisions, in whole batches of the metric.

    Data sets that share their images share these, too.
    """
    chosen: dict[int, ImageSet] = {}
    for one in images:
        n = min(CHECKED_IMAGES, len(one))
        count, size = batches_of(n, getattr(metric, "batch", None) or n)
        first = slice(count * size)
        chosen[id(one)] = replace(one, images=one.images[first], labels=one.labels[first])
    return [chosen[id(one)] for one in images]


def change_of(exact: Array, reduced: Array, images: int) -> Change:
    """Return how much the similarities of all pairs (m, m) change.

    One that is defined in one precision alone changes infinitely.

    Examples
    --------
    >>> exact = np.array([[1, 0.5, 0.5], [0.5, 1, 0], [0.5, 0, 1]])
    >>> reduced = np.array([[1, 0.5, 0.5], [0.5, 1, 0.25], [0.5, 0.25, 1]])
    >>> change_of(exact, reduced, 20)
    Change(largest=0.25, median=0.0, images=20, pair=(1, 2))
    """
    pairs = np.triu_indices(len(exact), k=1)
    changes = np.abs(exact[pairs] - reduced[pairs])
    changes[np.isnan(exact[pairs]) != np.isnan(reduced[pairs])] = np.inf
    if np.isnan(changes).all():
        return Change(math.nan, math.nan, images)
    most = int(np.nanargmax(changes))
    pair = int(pairs[0][most]), int(pairs[1][most])
    return Change(float(changes[most]), float(np.nanmedian(changes)), images, pair)
