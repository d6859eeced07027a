"""Canonical correlations: their mean, that of leading components, and a weighted mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import repsim_energy as rs
import scipy.linalg

from repsim_classics.activations import Array, read_rows
from repsim_classics.choices import check_choice
from repsim_classics.coordinates import nuclear_norm, principal_coordinates, quick_nuclear_norm

__all__ = ["CCA", "PWCCA", "SVCCA"]

Statistic = Literal["mean", "r2"]

CONSTANT = "activations are the same for all images"


class _Canonical(rs.ShuffledMetric):
    """Base class of metrics computed from the canonical correlations of two bases (n, r)."""

    name: str
    remedy = "show more images, or use svcca or procrustes"

    def compare(self, a: Array, b: Array) -> float:
        """Return the value of two representations, NaN where one is undefined.

        Any two spaces of dimensions r1 and r2 in that of n centered images have r1 + r2 - (n - 1)
        directions in common, where this is positive. A warning then gives their number.
        """
        value = super().compare(a, b)
        if not math.isnan(value):
            n, ranks = len(a), [self._basis(x).shape[1] for x in (a, b)]
            if (forced := sum(ranks) - (n - 1)) > 0:
                rs.warn(
                    f"{forced} of {min(ranks)} canonical correlations are 1 for any two networks: "
                    f"{ranks[0]} and {ranks[1]} directions cannot be independent in {n} images; "
                    f"use more than {sum(ranks)} images"
                )
        return value

    def _basis(self, representation: Array) -> Array:
        return representation

    def _none(self, n: int, rank: int) -> str | None:
        """Return why so many directions have no meaningful canonical correlations, or None."""
        if rank == 0:
            return CONSTANT
        if rank >= n - 1:
            return (
                f"{self.name} of {n} images is 1 for any networks where activations have "
                f"{rank} directions; {self.remedy}"
            )
        return None


class CCA(_Canonical):
    r"""Mean canonical correlation.

    .. math:: \bar\rho = \frac{\|Q_X^\top Q_Y\|_*}{\min(r_1, r_2)},\qquad
        R^2 = \frac{\|Q_X^\top Q_Y\|_F^2}{\min(r_1, r_2)}

    Q_X and Q_Y are orthonormal bases of centered activations of rank r1 and r2. It is NaN, with a
    warning, for a network with n - 1 directions for n images, where every correlation is 1.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Table 1; arXiv:1905.00414.

    Parameters
    ----------
    statistic : mean, or r2 for the mean of squared correlations
    """

    name = "cca"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation", "linear"})

    def __init__(self, *, statistic: Statistic = "mean") -> None:
        check_choice("statistic", statistic, Statistic)
        self.statistic = statistic

    def represent(self, subject: rs.Activations) -> Array:
        """Return an orthonormal basis (n, r) of centered (n, ...) activations."""
        rows = read_rows(subject, self.name, least=3)
        return self._defined(principal_coordinates(rows)[0])

    def _defined(self, basis: Array) -> Array:
        if why := self._none(*basis.shape):
            return self.undefined((len(basis), 1), why)
        return basis

    def value(self, a: Array, b: Array) -> float:
        """Return the mean of the canonical correlations, or of their squares."""
        return self._statistic(a, b, nuclear_norm)

    def approximate_value(self, a: Array, b: Array) -> float:
        """Return the same from a faster sum of singular values."""
        return self._statistic(a, b, quick_nuclear_norm)

    def _statistic(self, a: Array, b: Array, norm: Callable[[Array], float]) -> float:
        products: Array = a.T @ b
        total = norm(products) if self.statistic == "mean" else float(np.square(products).sum())
        return float(min(total / min(products.shape), 1.0))


class SVCCA(CCA):
    r"""Mean canonical correlation of the leading principal components of each network.

    These are the fewest components with at least the fraction ``variance`` of the sum of squared
    singular values.

    Source: Raghu, Gilmer, Yosinski and Sohl-Dickstein (2017), "SVCCA: Singular Vector Canonical
    Correlation Analysis for Deep Learning Dynamics and Interpretability"; arXiv:1706.05806.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Table 1; arXiv:1905.00414.

    Parameters
    ----------
    variance : fraction of the variance that the components explain, above 0 and at most 1
    statistic : mean, or r2 for the mean of squared correlations
    """

    name = "svcca"
    remedy = "show more images, or keep less variance"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, variance: float = 0.99, statistic: Statistic = "mean") -> None:
        super().__init__(statistic=statistic)
        if not 0 < variance <= 1:
            raise rs.UsageError(f"variance is {variance}, expected above 0 and at most 1")
        self.variance = variance

    def represent(self, subject: rs.Activations) -> Array:
        """Return the leading left singular vectors (n, r) of centered (n, ...) activations."""
        rows = read_rows(subject, self.name, least=3)
        basis, sizes = principal_coordinates(rows)
        explained = np.cumsum(sizes**2) / np.sum(sizes**2)
        count = int((explained < self.variance - 1e-12).sum()) + 1
        return self._defined(np.ascontiguousarray(basis[:, :count]))


class PWCCA(_Canonical):
    r"""Mean of canonical correlations, weighted by the activations along each direction.

    .. math:: \frac{\sum_i \alpha_i \rho_i}{\sum_i \alpha_i},\qquad
        \alpha_i = \sum_j |\langle h_i, x_j \rangle|

    h_i are the canonical directions and x_j the centered features of one network. The value is the
    mean of the results with the weights of either network, so that their order does not matter.
    Because of the absolute values it changes when the features are rotated.

    It is NaN, with a warning, for layers with as many features as images or more.

    Source: Morcos, Raghu and Bengio (2018), "Insights on representational similarity in neural
    networks with canonical correlation"; arXiv:1806.05759.
    """

    name = "pwcca"
    invariances = frozenset({"permutation", "scale", "translation"})

    def represent(self, subject: rs.Activations) -> Array:
        """Return an orthonormal basis, padded with zeros, and centered features: (n, 2, d)."""
        rows = read_rows(subject, self.name, least=3)
        n, d = rows.shape
        if d >= n and rows.vary():
            return self.undefined(
                (n, 1),
                f"pwcca of {n} images and {d} features is undefined, expected fewer features than "
                f"images; {self.remedy}",
            )
        basis, _ = principal_coordinates(rows) if d < n else (np.empty((n, 0)), None)
        if why := self._none(*basis.shape):
            return self.undefined((n, 1), why)
        features = np.hstack([block - block.mean(0) for block in rows.blocks()])
        return np.stack((np.pad(basis, ((0, 0), (0, d - basis.shape[1]))), features), axis=1)

    def _basis(self, representation: Array) -> Array:
        padded = representation[:, 0]
        return padded[:, padded.any(axis=0)]

    def value(self, a: Array, b: Array) -> float:
        """Return the mean of the two weighted means of the canonical correlations."""
        p, q = self._basis(a), self._basis(b)
        left, correlations, right = scipy.linalg.svd(
            p.T @ q, full_matrices=False, check_finite=False
        )
        directions = ((p @ left, a[:, 1]), (q @ right.T, b[:, 1]))
        weights = [np.abs(h.T @ features).sum(axis=1) for h, features in directions]
        means = [np.average(correlations, weights=weight) for weight in weights]
        return min(float(np.mean(means)), 1.0)
