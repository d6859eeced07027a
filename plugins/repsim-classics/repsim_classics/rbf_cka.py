"""Centered kernel alignment with a Gaussian kernel."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import repsim_energy as rs

from repsim_classics.activations import Array, read_rows
from repsim_classics.shuffling import ShuffledMetric, check_choice, undefined

__all__ = ["RBFCKA"]

Estimator = Literal["debiased", "biased"]


class RBFCKA(ShuffledMetric):
    r"""CKA with a Gaussian kernel whose width is a fraction of the median distance of images.

    .. math:: K_{ij} = \exp\left(-\frac{\|x_i - x_j\|^2}{2 b^2 m}\right),\qquad
        \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

    with bandwidth b and m the median of all n² squared distances, those of images to themselves
    included, as in the code of the source.

    Parameters
    ----------
    estimator : debiased, or biased (inflated where there are few images)
    bandwidth : the width of the kernel as a fraction of the median distance

    Source: Kornblith et al. (2019), Equation 4; Song et al. (2012), Equation 5, for ``debiased``.
    """

    name = "rbf_cka"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, estimator: Estimator = "debiased", bandwidth: float = 1.0) -> None:
        check_choice("estimator", estimator, Estimator)
        if not 0 < bandwidth < math.inf:
            raise rs.UsageError(f"bandwidth is {bandwidth}, expected a number above 0")
        self.estimator = estimator
        self.bandwidth = bandwidth
        self.bounds = (0.0, 1.0) if estimator == "biased" else (-1.0, 1.0)

    def represent(self, subject: rs.Activations) -> Array:
        """Return the centered kernel matrix of (n, ...) activations, of unit norm: (n, n)."""
        rows = read_rows(subject, self.name, least=4)
        n = rows.shape[0]
        gram = rows.gram(center="images")
        squares = gram.diagonal()
        distances = (squares + squares[:, None] - 2 * gram).clip(0)
        np.fill_diagonal(distances, 0)
        median = float(np.median(distances))
        if median <= rows.shape[1] * rows.rounding**2:
            return undefined((n, 1), "more than half of the distances between images are zero")
        kernel = np.exp(-distances / (2 * self.bandwidth**2 * median))
        centered = _centered(kernel) if self.estimator == "biased" else _unbiased(kernel)
        norm = float(np.linalg.norm(centered))
        if norm <= 1e-12 * n:
            return undefined(
                (n, 1),
                f"the kernel with bandwidth {self.bandwidth:g} is the same for all pairs of images",
            )
        return centered / norm

    def representation_bytes(self, images: int) -> int:
        """Return how large a representation of so many activations of one layer is."""
        return 8 * images * images

    def _value(self, a: Array, b: Array) -> float:
        return float(np.vdot(a, b).clip(*self.bounds))

    def _shuffled(self, b: Array, generator: np.random.Generator) -> Array:
        order = generator.permutation(len(b))
        return b[np.ix_(order, order)]


def _centered(kernel: Array) -> Array:
    """Return the kernel with rows and columns that sum to zero."""
    means = kernel.mean(0)
    centered: Array = kernel - means - means[:, None] + means.mean()
    return centered


def _unbiased(kernel: Array) -> Array:
    r"""Return a matrix whose product with another's, entry by entry, is n (n - 3) HSIC_1.

    :math:`A_{ij} = K_{ij} - (r_i + r_j) / (n - 2) + s / ((n - 1)(n - 2))` off the diagonal and 0 on
    it, with the sums r of rows and s of all, both without the diagonal.

    Source: Székely and Rizzo (2014), Definition 2.
    """
    n = len(kernel)
    without = kernel - np.diag(kernel.diagonal())
    sums = without.sum(0)
    unbiased: Array = without - (sums + sums[:, None]) / (n - 2)
    unbiased += sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(unbiased, 0)
    return unbiased
