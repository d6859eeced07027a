"""Null distributions that are known in closed form."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammainc, gammaincc, gammaincinv, stdtr, stdtrit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["GammaNull", "PearsonNull", "pearson_null"]

MIN_SKEWNESS = 1e-4
"""Below it a gamma distribution is a normal one in all digits that count."""


class PearsonNull:
    r"""Distribution of the correlation of two unrelated samples of d numbers.

    .. math:: r\sqrt{\frac{d - 2}{1 - r^2}} \sim t_{d-2}

    Parameters
    ----------
    components : d; all is NaN for fewer than three

    Source: Fisher (1915), "Frequency distribution of the values of the correlation coefficient in
    samples from an indefinitely large population"; doi:10.1093/biomet/10.4.507.
    """

    def __init__(self, components: int) -> None:
        self._freedom = components - 2 if components > 2 else math.nan

    def cdf(self, x: ArrayLike) -> Any:
        """Return the probability of a correlation of at most x."""
        r = np.clip(x, -1, 1)
        with np.errstate(divide="ignore"):
            return stdtr(self._freedom, r * np.sqrt(self._freedom / (1 - r * r)))

    def sf(self, x: ArrayLike) -> Any:
        """Return the probability of a correlation of more than x."""
        return self.cdf(-np.asarray(x))

    def ppf(self, q: ArrayLike) -> Any:
        """Return the correlation below which the probability is q."""
        t = stdtrit(self._freedom, q)
        return t / np.sqrt(self._freedom + t * t)


@lru_cache(maxsize=128)
def pearson_null(components: int) -> PearsonNull:
    """Return the distribution for so many components, the same object each time."""
    return PearsonNull(components)


class GammaNull:
    """Gamma distribution with mean 0 (Pearson's type III).

    Parameters
    ----------
    deviation : its standard deviation; all is NaN if it is
    skewness : of either sign
    """

    def __init__(self, deviation: float, skewness: float) -> None:
        self._sign = -1 if skewness < 0 else 1
        self._shape = 4 / max(abs(skewness), MIN_SKEWNESS) ** 2
        self._deviation = deviation

    def _below(self, x: ArrayLike, sign: int) -> Any:
        root = math.sqrt(self._shape)
        upright = self._shape + root * self._sign * np.asarray(x) / self._deviation
        part = gammainc if sign == self._sign else gammaincc
        return part(self._shape, np.maximum(upright, 0))

    def cdf(self, x: ArrayLike) -> Any:
        """Return the probability of at most x."""
        return self._below(x, 1)

    def sf(self, x: ArrayLike) -> Any:
        """Return the probability of more than x."""
        return self._below(x, -1)

    def ppf(self, q: ArrayLike) -> Any:
        """Return the number below which the probability is q."""
        share = np.asarray(q) if self._sign > 0 else 1 - np.asarray(q)
        upright = (gammaincinv(self._shape, share) - self._shape) / math.sqrt(self._shape)
        return self._sign * self._deviation * upright
