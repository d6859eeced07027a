"""Correlation of energy profiles."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.interfaces import Direction, FilterBank, OperatesOn
from repsim_energy.numerics.inference.distributions import PearsonNull, pearson_null
from repsim_energy.numerics.profiles.energy import (
    profile_similarities,
    profile_similarity,
    similarities_of_stacks,
    unchecked_profile,
)
from repsim_energy.numerics.profiles.null import pearson_null_interval

__all__ = ["EnergyProfileCorrelation"]


class EnergyProfileCorrelation:
    r"""Pearson correlation of the energy profiles of two filter banks on one patch basis.

    .. math:: S(W, V) = \operatorname{corr}(e(W), e(V)), \qquad
        e_i(W) = \sqrt{\textstyle\frac{1}{K} \sum_k (w_k^\top u_i)^2}

    Parameters
    ----------
    norm : ``unit`` divides every filter by its norm first, so that no loud filter decides the
        profile; filters that are zero are left out. ``none`` takes filters as they are

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 2; arXiv:2206.02454.
    """

    name = "energy_profile_correlation"
    operates_on: OperatesOn = "filters"
    direction: Direction = "similarity"
    bounds = (-1.0, 1.0)
    invariances = frozenset({"permutation", "scale", "orthogonal"})
    norm: Literal["none", "unit"] = "none"

    def __init__(self, *, norm: Literal["none", "unit"] = "none") -> None:
        self.norm = norm
        if norm == "unit":  # mixing filters changes their norms
            self.invariances = frozenset({"permutation", "scale"})

    def prepare(self, filters: Tensor) -> Tensor:
        """Return the filters that are compared: divided by their norms, where that is asked for.

        Parameters
        ----------
        filters : (k, c, kh, kw) finite

        Returns
        -------
        (k', c, kh, kw) float64, without filters that are zero; a single one if all are
        """
        if self.norm == "none":
            return filters
        norms = filters.double().flatten(1).norm(dim=1)
        kept = norms > 0
        if not kept.any():
            return filters[:1].double()
        unit: Tensor = filters[kept].double() / norms[kept].reshape(-1, *(1,) * (filters.ndim - 1))
        return unit

    def represent(self, subject: FilterBank) -> NDArray[np.float64]:
        """Return the (r,) energy profile of a filter bank, in weight units."""
        if subject.profile is not None:
            return subject.profile
        return unchecked_profile(self.prepare(subject.filters), subject.basis)

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return the correlation of two profiles. It is NaN if one of them is constant."""
        return profile_similarity(a, b)

    def null_interval(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return the central 95% of the correlation of independent random banks."""
        return pearson_null_interval(len(a))

    def null_distribution(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> PearsonNull:
        """Return the distribution of the correlation of independent random banks."""
        return pearson_null(len(a))

    def compare_all(self, stack: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the (m, m) correlations of (m, r) profiles and the ends of null intervals."""
        similarities = profile_similarities(stack)
        interval = pearson_null_interval(stack.shape[1])
        return similarities, *(np.full_like(similarities, end) for end in interval)

    def compare_stacks(self, stacks: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (n, m, m) correlations within each of n stacks of profiles (n, m, r)."""
        return similarities_of_stacks(stacks)
