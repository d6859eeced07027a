"""Mutual nearest neighbors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import repsim_energy as rs

from repsim_classics.activations import Array, read_rows
from repsim_classics.choices import check_choice

__all__ = ["MutualKNN"]

Distance = Literal["cosine", "euclidean"]


class MutualKNN(rs.ShuffledMetric):
    r"""Fraction of the nearest neighbors of an image that two networks share.

    .. math:: \frac{1}{n k} \sum_i |N_X(i) \cap N_Y(i)|

    N(i) are the k images nearest to image i. Unrelated networks share k / (n - 1) of them on
    average.

    Source: Huh, Cheung, Wang and Isola (2024), "The Platonic Representation Hypothesis";
    arXiv:2405.07987.

    Parameters
    ----------
    k : number of neighbors, at least 1 and at most the number of images minus 2
    distance : cosine as in the source, or euclidean, which is invariant to translation
    """

    name = "mutual_knn"

    def __init__(self, *, k: int = 10, distance: Distance = "cosine") -> None:
        check_choice("distance", distance, Distance)
        if k < 1:
            raise rs.UsageError(f"k is {k}, expected at least 1 neighbor")
        self.k = k
        self.distance = distance
        self.invariances = frozenset({"permutation", "scale", "orthogonal"}) | (
            {"translation"} if distance == "euclidean" else set()
        )

    def represent(self, subject: rs.Activations) -> Array:
        """Return the indices (n, k) of the k nearest neighbors of each image.

        If several images are equally near in the last place, one is taken, with a warning.
        """
        rows = read_rows(subject, self.name, least=3)
        n = rows.shape[0]
        if self.k > n - 2:
            raise rs.UsageError(
                f"k is {self.k} of {n} images, expected at most {n - 2}, because otherwise all "
                "images are neighbors; use a smaller k or more images"
            )
        if not rows.vary():
            return self.undefined((n, 1), "activations are the same for all images")
        near = rows.gram("images" if self.distance == "euclidean" else "nothing")
        lengths = np.sqrt(near.diagonal())
        if self.distance == "euclidean":
            near = 2 * near - np.square(lengths)  # minus the distance, up to a number for each row
        elif missing := int((lengths == 0).sum()):
            return self.undefined(
                (n, 1),
                f"{missing} of {n} images have activations of zero alone, which have no direction; "
                "use mutual_knn:distance=euclidean",
            )
        else:
            near /= lengths * lengths[:, None]
        np.fill_diagonal(near, -np.inf)
        return self._nearest(near)

    def _nearest(self, near: Array) -> Array:
        order = np.argsort(-near, axis=1, kind="stable")
        last = np.take_along_axis(near, order[:, self.k - 1 : self.k + 1], axis=1)
        close = last[:, 0] - last[:, 1] <= 1e-12 * np.abs(near[np.isfinite(near)]).max()
        if close.any():
            rs.warn(
                f"{int(close.sum())} of {len(near)} images have several images that are equally "
                f"near in place {self.k}; one of them was taken"
            )
        return order[:, : self.k].astype(np.float64)

    def representation_bytes(self, images: int) -> int:
        """Return the size in bytes of the representation of a layer on so many images."""
        return 8 * images * self.k

    def value(self, a: Array, b: Array) -> float:
        """Return the fraction of nearest neighbors that two networks share."""
        return float((_mask(a) & _mask(b)).sum()) / a.size

    def shuffle(self, representation: Array, generator: np.random.Generator) -> Array:
        """Return the neighbors of images in a random order."""
        order = generator.permutation(len(representation))
        return np.argsort(order)[representation[order].astype(np.intp)].astype(np.float64)


def _mask(neighbors: Array) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    n = len(neighbors)
    mask = np.zeros((n, n), dtype=np.bool_)
    np.put_along_axis(mask, neighbors.astype(np.intp), True, axis=1)
    return mask
