"""Linear centered kernel alignment of activations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import Activations, Direction, OperatesOn
from repsim_energy.numerics.cka.hsic import Estimator, centered_gram, cka_from_hsic, hsic_matrix
from repsim_energy.numerics.cka.null import (
    INVARIANTS,
    MIN_SAMPLES,
    permutation_interval,
    permutation_invariants,
    permutation_law,
    shuffled_interval,
)
from repsim_energy.numerics.features import as_rows
from repsim_energy.numerics.inference.distributions import GammaNull

__all__ = ["LinearCKA"]

Array = NDArray[np.float64]


class LinearCKA:
    r"""Linear CKA of the activations of two networks on the same images.

    .. math:: \mathrm{CKA}(X, Y) = \frac{\mathrm{HSIC}(XX^\top, YY^\top)}
        {\sqrt{\mathrm{HSIC}(XX^\top, XX^\top)\,\mathrm{HSIC}(YY^\top, YY^\top)}}

    With ``batch``, each HSIC is estimated in batches of equal size and summed before the ratio is
    taken, so that memory grows with images times batch, not with images squared.

    Parameters
    ----------
    estimator : ``debiased``, or ``biased`` (too large if there are more features than images)
    batch : maximum number of images per batch; ``none`` for all images at once

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Equation 4; arXiv:1905.00414.

    Source: Song, Smola, Gretton, Bedo and Borgwardt (2012), "Feature Selection via Dependence
    Maximization", Equation 5; https://jmlr.org/papers/v13/song12a.html.

    Source: Nguyen, Raghu and Kornblith (2021), "Do Wide and Deep Networks Learn the Same Things?",
    for batches; arXiv:2010.15327.
    """

    name = "cka"
    operates_on: OperatesOn = "activations"
    direction: Direction = "similarity"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, estimator: Estimator = "debiased", batch: int | None = None) -> None:
        if batch is not None and batch < 2 * MIN_SAMPLES:
            raise UsageError(f"batch is {batch}, expected at least {2 * MIN_SAMPLES} images")
        if batch is not None and estimator == "biased":
            raise UsageError(
                "got batch= and estimator=biased, expected one of them: batch goes with the "
                "debiased estimator alone, because many batches are as biased as one; leave one out"
            )
        self.estimator = estimator
        self.batch = batch
        self.bounds = (0.0, 1.0) if estimator == "biased" else (-1.0, 1.0)
        if estimator == "debiased":  # three moments do not describe biased CKA
            self.null_distribution = self._null_distribution

    def represent(self, subject: Activations) -> Array:
        """Return the HSIC matrix of the activations, preceded by its permutation invariants.

        Parameters
        ----------
        subject : the activations of n images, (n, ...)

        Returns
        -------
        (4 + n²,) float64; the rows of several batches are stacked
        """
        gram = centered_gram(as_rows(subject.values))  # which refuses NaN
        matrix = hsic_matrix(gram, self.estimator)
        row: Array = torch.cat((permutation_invariants(matrix), matrix.flatten())).cpu().numpy()
        return row

    def representation_bytes(self, images: int) -> int:
        """Return the size in bytes of the representation of one layer's activations."""
        batch = min(images, self.batch or images)
        return 8 * -(-images // batch) * (INVARIANTS + batch * batch)

    def compare(self, a: Array, b: Array) -> float:
        """Return the CKA of two representations. It is NaN for constant activations."""
        a, b = _same_images(a, b)
        xy = sum(np.vdot(*pair) for pair in zip(a[:, INVARIANTS:], b[:, INVARIANTS:], strict=True))
        return cka_from_hsic(float(xy), a[:, 1].sum(), b[:, 1].sum())

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the central 95% when the images of one network are shuffled within each batch."""
        a, b = _same_images(a, b)
        if self.estimator == "debiased":
            return permutation_interval(a[:, :INVARIANTS], b[:, :INVARIANTS])
        n = int(a[0, 0])
        return shuffled_interval(*(torch.from_numpy(r[0, INVARIANTS:]).view(n, n) for r in (a, b)))

    def shuffle(self, representation: Array, generator: np.random.Generator) -> Array:
        """Return the representation of the same images in a random order within each batch."""
        shuffled = representation.copy()
        for row in np.atleast_2d(shuffled):
            n = int(row[0])
            order = generator.permutation(n)
            row[INVARIANTS:] = row[INVARIANTS:].reshape(n, n)[order][:, order].ravel()
        return shuffled

    def _null_distribution(self, a: Array, b: Array) -> GammaNull:
        """Return the distribution when the images of one network are shuffled in each batch."""
        a, b = _same_images(a, b)
        return GammaNull(*permutation_law(a[:, :INVARIANTS], b[:, :INVARIANTS]))


def _same_images(a: Array, b: Array) -> tuple[Array, Array]:
    if a.shape != b.shape:
        raise ShapeError(
            f"representations have shapes {a.shape} and {b.shape}, expected equal ones; show both "
            "networks the same images"
        )
    return np.atleast_2d(a), np.atleast_2d(b)
