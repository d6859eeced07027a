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
"""Methods that do not subtract the mean, so that equal dissimilarities have a value."""


class RSA(rs.ShuffledMetric):
    r"""Representational similarity analysis.

    The dissimilarities of all n (n - 1) / 2 pairs of images in one network, its RDM, are compared
    with those in the other network.

    Source: Kriegeskorte, Mur and Bandettini (2008), "Representational similarity analysis -
    connecting the branches of systems neuroscience"; doi:10.3389/neuro.06.004.2008.

    Source: Diedrichsen, Berlot, Mur, Schütt, Shahbazi and Kriegeskorte (2020), "Comparing
    representational geometries using whitened unbiased-distance-matrix similarity", for
    ``corr_cov`` and ``cosine_cov``, which on ``euclidean`` is biased linear CKA; arXiv:2007.02789.

    Parameters
    ----------
    method : comparison of RDMs, by its name in rsatoolbox: spearman, corr (Pearson), cosine,
        kendall (tau-b), tau-a, rho-a, corr_cov and cosine_cov (after whitening), bures
    dissimilarity : correlation (1 - r across the features of two images) or euclidean (squared)
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
        """Return the upper triangle of the RDM of (n, ...) activations, n (n - 1) / 2 numbers.

        For ``spearman`` these are ranks, which are thus computed once per network.
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
        """Return the size in bytes of the representation of a layer on so many images."""
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
    """Return the squared distances of all pairs."""
    products = rows.gram(center="images")
    squares = products.diagonal()
    return _upper(squares + squares[:, None] - 2 * products).clip(0)


def _correlation(rows: Rows) -> Array:
    """Return 1 - r of the features of all pairs of images, NaN where it is undefined.

    rsatoolbox gives the same numbers, but takes twenty times as long for 1,000 images of 65,536
    features.
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
    module: ModuleType = rsatoolbox
    return module
