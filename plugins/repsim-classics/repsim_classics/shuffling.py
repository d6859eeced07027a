"""What the metrics have in common: undefined is NaN, and a null interval comes from shuffling."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Literal, get_args

import numpy as np
import repsim_energy as rs
import scipy.stats

from repsim_classics.activations import Array

__all__ = ["SHUFFLES", "ShuffledMetric", "check_choice", "undefined"]

SHUFFLES = 20
"""How often the images of one network are shuffled for a null interval."""


class ShuffledMetric(ABC):
    """A measure of two arrays, one per network, whose first axis runs over images.

    A representation that is NaN is one for which the measure is undefined.
    """

    operates_on: Literal["filters", "activations"] = "activations"
    direction: Literal["similarity", "distance"] = "similarity"
    bounds: tuple[float, float] = (0.0, 1.0)

    def compare(self, a: Array, b: Array) -> float:
        """Return the value of two representations; NaN where one is undefined."""
        return self._value(a, b) if _defined(a, b) else math.nan

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        r"""Return where 95% of values lie when the images of one network are shuffled.

        :math:`m \pm t\, s \sqrt{1 + 1/20}` with mean m and standard deviation s of 20 shufflings
        and t the 97.5% point of Student's distribution with 19 degrees of freedom: the interval in
        which one more value lies with 95% probability where values are normally distributed. It
        takes a hundred shufflings to read the band off their quantiles as precisely.
        """
        if not _defined(a, b):
            return (math.nan, math.nan)
        generator = np.random.default_rng(0)
        values = [self._quick(a, self._shuffled(b, generator)) for _ in range(SHUFFLES)]
        width = scipy.stats.t.ppf(0.975, SHUFFLES - 1) * math.sqrt(1 + 1 / SHUFFLES)
        middle, reach = float(np.mean(values)), float(width * np.std(values, ddof=1))
        low, high = self.bounds
        return (max(low, middle - reach), min(high, middle + reach))

    @abstractmethod
    def _value(self, a: Array, b: Array) -> float:
        """Return the value of two representations that are defined."""

    def _quick(self, a: Array, b: Array) -> float:
        """Return the value, as precisely as a null interval needs it."""
        return self._value(a, b)

    def _shuffled(self, b: Array, generator: np.random.Generator) -> Array:
        """Return what represents a network that saw the images in another order."""
        return b[generator.permutation(len(b))]


def undefined(shape: tuple[int, ...], why: str) -> Array:
    """Return a representation for which there is no value, and say why."""
    warnings.warn(f"{why}; reported as NaN", rs.RepsimWarning, stacklevel=3)
    return np.full(shape, np.nan)


def check_choice(option: str, value: str, choices: object) -> None:
    """Refuse a value that is none of a ``Literal``."""
    known = get_args(choices)
    if value not in known:
        raise rs.UsageError(f"{option} is '{value}', expected {' or '.join(known)}")


def _defined(a: Array, b: Array) -> bool:
    if len(a) != len(b):
        raise rs.ShapeError(
            f"representations have {len(a)} and {len(b)} rows, expected as many in both; show both "
            "networks the same images"
        )
    return not (math.isnan(a.flat[0]) or math.isnan(b.flat[0]))
