"""Linear centred kernel alignment of activations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Direction, OperatesOn, Subject
from repsim_energy.numerics.cka import Estimator, centered_gram, cka_from_grams, cka_null_band

__all__ = ["LinearCKA"]


class LinearCKA:
    """Linear CKA of the activations of two networks on the same images.

    Parameters
    ----------
    estimator : debiased, or biased (inflated where there are more features than images)

    Source: Kornblith et al. (2019), Equation 4; Song et al. (2012), Equation 5.
    """

    name = "cka"
    operates_on: OperatesOn = "activations"
    direction: Direction = "similarity"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, estimator: Estimator = "debiased") -> None:
        self.estimator = estimator
        self.bounds = (0.0, 1.0) if estimator == "biased" else (-np.inf, np.inf)

    def represent(self, subject: Subject) -> NDArray[np.float64]:
        """Return the (n, n) centred Gram matrix of (n, ...) activations."""
        if subject.activations is None:
            raise UsageError("cka needs activations")
        gram: NDArray[np.float64] = centered_gram(subject.activations.flatten(1)).numpy()
        return gram

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return the CKA of two Gram matrices; NaN where one is zero."""
        return cka_from_grams(torch.from_numpy(a), torch.from_numpy(b), self.estimator)

    def null_band(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return the central 95% over shufflings of one network's examples."""
        return cka_null_band(torch.from_numpy(a), torch.from_numpy(b), self.estimator)
