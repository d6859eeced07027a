"""Representational similarity analysis, with the comparers of rsatoolbox."""

from __future__ import annotations

from types import ModuleType
from typing import Literal

import numpy as np
import repsim_energy as rs
import scipy.stats
from scipy.spatial.distance import squareform

from repsim_classics.activations import Array, Rows, read_rows
from repsim_classics.choices import check_choice

__all__ = ["RSA"]

Dissimilarity = Literal["correlation", "euclidean"]
Method = Literal[
    "spearman", "corr", "cosine", "kendall", "tau-a", "rho-a", "corr_cov", "cosine_cov", "bures"
]

WITHOUT_MEAN = ("cosine", "cosine_cov", "bures")
"""Comparers for which dissimilarities that are all equal are a pattern like any other."""


class RSA(rs.ShuffledMetric):
    r"""Representational similarity analysis: whether the same pairs of images are far apart.

    The dissimilarities of all n (n - 1) / 2 pairs of images in one network, its RDM, are compared
    with those in the other.

    Parameters
    ----------
    method : how RDMs are compared, by the names of rsatoolbox: spearman, corr (Pearson), cosine,
        kendall (tau-b), tau-a, rho-a, corr_cov and cosine_cov (after whitening), bures
    dissimilarity : correlation (1 - r across the features of two images) or euclidean (squared)

    Source: Kriegeskorte, Mur and Bandettini (2008); Diedrichsen et al. (2020) for ``corr_cov`` and
    ``cosine_cov``, which on ``euclidean`` is biased linear CKA.
    """

    name = "rsa"

    def __init__(
        self, *, method: Method = "spearman", dissimilarity: Dissimilarity = "correlation"
    ) -> None:
        check_choice("method", method, Method)
        check_choice("dissimilarity", dissimilarity, Dissimilarity)
        self.method = method
        self.dissimilarity = dissimilarity
        self.bounds = (0.0 if method in WITHOUT_MEAN else -1.0, 1.0)
        self.invariances = frozenset({"permutation", "scale"}) | (
            {"orthogonal", "translation"} if dissimilarity == "euclidean" else set()
        )

    def represent(self, subject: rs.Activations) -> Array:
        """Return the RDM of (n, ...) activations as the vector of its upper triangle.

        For ``spearman`` it holds ranks, so that they are taken once per network.
        """
        _rsatoolbox()
        rows = read_rows(subject, self.name, least=4)
        shape = (self._pairs(rows.shape[0]),)
        if not rows.vary():
            return self.undefined(shape, "activations are the same for all images")
        rdm = _euclidean(rows) if self.dissimilarity == "euclidean" else _correlation(rows)
        if np.isnan(rdm).any():
            return self.undefined(
                shape,
                "some images have equal activations in all features, which correlate with nothing; "
                "use rsa:dissimilarity=euclidean",
            )
        if self.method not in WITHOUT_MEAN and np.ptp(rdm) <= 1e-12 * rdm.max():
            return self.undefined(shape, "all pairs of images are equally far apart")
        return scipy.stats.rankdata(rdm) if self.method == "spearman" else rdm

    def representation_bytes(self, images: int) -> int:
        """Return how large a representation of so many activations of one layer is."""
        return 8 * self._pairs(images)

    def value(self, a: Array, b: Array) -> float:
        """Return how rsatoolbox compares two dissimilarity vectors."""
        method = "corr" if self.method == "spearman" else self.method
        found = _rsatoolbox().rdm.compare(a[None], b[None], method=method)
        return float(np.clip(found.item(), *self.bounds))

    def shuffle(self, representation: Array, generator: np.random.Generator) -> Array:
        """Return the dissimilarities of images in a random order."""
        square = squareform(representation)
        order = generator.permutation(len(square))
        shuffled: Array = squareform(square[np.ix_(order, order)], checks=False)
        return shuffled

    @staticmethod
    def _pairs(images: int) -> int:
        return images * (images - 1) // 2


def _euclidean(rows: Rows) -> Array:
    """Return squared distances, a vector over pairs."""
    products = rows.gram(center="images")
    squares = products.diagonal()
    return _upper(squares + squares[:, None] - 2 * products).clip(0)


def _correlation(rows: Rows) -> Array:
    """Return 1 - r of the features of two images, a vector over pairs; NaN where undefined.

    rsatoolbox gives the same numbers; for 1,000 images of 65,536 features it takes twenty times as
    long.
    """
    products = rows.gram(center="features")
    squares = products.diagonal().copy()
    squares[squares <= rows.shape[1] * rows.rounding**2] = np.nan
    lengths = np.sqrt(squares)
    return _upper(1 - products / (lengths * lengths[:, None])).clip(0, 2)


def _upper(square: Array) -> Array:
    vector: Array = square[np.triu_indices(len(square), 1)]
    return vector


def _rsatoolbox() -> ModuleType:
    try:
        import rsatoolbox
        import rsatoolbox.rdm
    except ModuleNotFoundError as error:
        raise rs.UsageError(f"rsa needs rsatoolbox ({error}); pip install rsatoolbox") from error
    found: ModuleType = rsatoolbox
    return found
