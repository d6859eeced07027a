"""Similarities of filters of layers that see different inputs: by rank, or through alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.layer_alignment import InputMoments, carry_filters
from repsim_energy.interfaces import FilterBank, Metric, PatchBasis
from repsim_energy.numerics.profiles.energy import unchecked_profile

__all__ = ["RankPairs", "SharedInputPairs", "bank_of"]

Index = tuple[int, ...]
Numbers = NDArray[np.float64]


def bank_of(filters: Tensor, basis: PatchBasis) -> FilterBank:
    """Return filters on a basis with their energy profile."""
    return FilterBank(filters, basis, unchecked_profile(filters, basis))


@dataclass(eq=False)
class RankPairs:
    """Comparison of component i of one layer's basis with component i of the other's.

    Of bases of different size, the common leading components are compared.

    Parameters
    ----------
    banks : index of a layer -> its filters on its own basis
    """

    metric: Metric
    banks: Mapping[Index, FilterBank]

    def __post_init__(self) -> None:
        """Begin without representations."""
        self._representations: dict[tuple[Index, int], Numbers] = {}

    def compare(self, a: Index, b: Index) -> tuple[float, float, float, float]:
        """Return the similarity, the ends of its null interval, and the number of components."""
        size = min(len(self.banks[i].basis.eigenvalues) for i in (a, b))
        first, second = self._represent(a, size), self._represent(b, size)
        if first.shape != second.shape:  # of a metric that depends on the channels
            return np.nan, np.nan, np.nan, 0
        interval = self.metric.null_interval(first, second) if a != b else (np.nan, np.nan)
        return self.metric.compare(first, second), *interval, size

    def _represent(self, index: Index, size: int) -> Numbers:
        """Return the representation on the leading components."""
        if (index, size) not in self._representations:
            bank = self.banks[index]
            basis = replace(
                bank.basis,
                components=bank.basis.components[:size],
                eigenvalues=bank.basis.eigenvalues[:size],
            )
            profile = None if bank.profile is None else bank.profile[:size]
            self._representations[index, size] = self.metric.represent(
                FilterBank(bank.filters, basis, profile)
            )
        return self._representations[index, size]


@dataclass(eq=False)
class SharedInputPairs:
    """Comparison of filters on the basis of one layer, with those of the other carried over.

    The similarity is the mean of both directions: b's filters on a's basis, and a's on b's.

    Parameters
    ----------
    banks : index of a layer -> its filters on its own basis
    moments : index -> the second moments of the inputs of all layers with maps of its size and the
        same images
    """

    metric: Metric
    banks: Mapping[Index, FilterBank]
    moments: Mapping[Index, InputMoments]

    def compare(self, a: Index, b: Index) -> tuple[float, float, float, float]:
        """Return the similarity, the ends of its null interval, and the similarity of the inputs.

        All are NaN for layers of different kernels, groups or sizes of maps.
        """
        one, other = self.banks[a], self.banks[b]
        moments = self.moments.get(a)
        if moments is None or moments is not self.moments.get(b):
            return (np.nan,) * 4
        if one.basis.patch[1:] != other.basis.patch[1:]:
            return (np.nan,) * 4
        if a == b:
            own = self.metric.represent(one)
            return self.metric.compare(own, own), np.nan, np.nan, 1.0
        alignment, inputs = moments.align(a, b)
        ways = []
        for bank, filters, way in (
            (one, other.filters, alignment),
            (other, one.filters, alignment.T),
        ):
            mine = self.metric.represent(bank)
            carried = self.metric.represent(bank_of(carry_filters(filters, way), bank.basis))
            ways.append(
                (self.metric.compare(mine, carried), *self.metric.null_interval(mine, carried))
            )
        similarity, low, high = np.mean(ways, 0).tolist()
        return similarity, low, high, inputs
