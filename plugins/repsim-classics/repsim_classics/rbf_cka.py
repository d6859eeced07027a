"""Centered kernel alignment with a Gaussian kernel."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import repsim_energy as rs
import torch

from repsim_classics.activations import Array, read_rows
from repsim_classics.choices import check_choice

__all__ = ["RBFCKA"]

Estimator = Literal["debiased", "biased"]


class RBFCKA(rs.ShuffledMetric):
    r"""CKA with a Gaussian kernel, whose width is a fraction of the median distance of images.

    .. math:: K_{ij} = \exp\left(-\frac{\|x_i - x_j\|^2}{2 b^2 m}\right),\qquad
        \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}

    b is the bandwidth. m is the median of all n² squared distances, including those of images to
    themselves, as in the code of the first source.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Equation 4; arXiv:1905.00414.

    Source: Song, Smola, Gretton, Bedo and Borgwardt (2012), "Feature Selection via Dependence
    Maximization", Equation 5, for ``debiased``; https://jmlr.org/papers/v13/song12a.html.

    Parameters
    ----------
    estimator : debiased, or biased (inflated where there are few images)
    bandwidth : width of the kernel as a fraction of the median distance
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
        """Return the centered kernel matrix (n, n) of (n, ...) activations, with unit norm."""
        rows = read_rows(subject, self.name, least=4)
        n = rows.shape[0]
        gram = rows.gram(center="images")
        squares = gram.diagonal()
        distances = (squares + squares[:, None] - 2 * gram).clip(0)
        np.fill_diagonal(distances, 0)
        median = float(np.median(distances))
        if median <= rows.shape[1] * rows.rounding**2:
            return self.undefined((n, 1), "more than half of the distances between images are zero")
        kernel = np.exp(-distances / (2 * self.bandwidth**2 * median))
        if self.estimator == "biased":
            matrix = _centered(kernel)
        else:
            matrix = rs.unbiased_gram(torch.from_numpy(kernel)).numpy()
        norm = float(np.linalg.norm(matrix))
        if norm <= 1e-12 * n:
            return self.undefined(
                (n, 1),
                f"the kernel with bandwidth {self.bandwidth:g} is the same for all pairs of images",
            )
        return matrix / norm

    def representation_bytes(self, images: int) -> int:
        """Return the size in bytes of the representation of a layer on so many images."""
        return 8 * images * images

    def value(self, a: Array, b: Array) -> float:
        """Return the inner product of two kernel matrices of unit norm."""
        return float(np.vdot(a, b).clip(*self.bounds))

    def shuffle(self, representation: Array, generator: np.random.Generator) -> Array:
        """Return the kernel matrix with rows and columns in one random order."""
        order = generator.permutation(len(representation))
        return representation[np.ix_(order, order)]


def _centered(kernel: Array) -> Array:
    """Return the kernel matrix with the means of rows and columns subtracted."""
    means = kernel.mean(0)
    centered: Array = kernel - means - means[:, None] + means.mean()
    return centered
