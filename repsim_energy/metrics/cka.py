"""Linear centered kernel alignment of activations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import Activations, Direction, OperatesOn
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.cka.hsic import Estimator, centered_gram, hsic_matrix, ratio
from repsim_energy.numerics.cka.null import (
    FEWEST,
    INVARIANTS,
    permutation_band,
    permutation_invariants,
    shuffled_band,
)

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

    Source: Kornblith et al. (2019), Equation 4; Song et al. (2012), Equation 5; for batches Nguyen
    et al. (2021).
    """

    name = "cka"
    operates_on: OperatesOn = "activations"
    direction: Direction = "similarity"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, estimator: Estimator = "debiased", batch: int | None = None) -> None:
        if batch is not None and batch < 2 * FEWEST:
            raise UsageError(f"batch is {batch}, expected at least {2 * FEWEST} images")
        if batch is not None and estimator == "biased":
            raise UsageError(
                "batch goes with the debiased estimator alone (a biased one is as biased as a "
                "single batch); leave one of batch= and estimator=biased out"
            )
        self.estimator = estimator
        self.batch = batch
        self.bounds = (0.0, 1.0) if estimator == "biased" else (-np.inf, np.inf)

    def represent(self, subject: Activations) -> Array:
        """Return the HSIC matrix of (n, ...) activations, preceded by its permutation invariants.

        It is one row of 4 + n² numbers. The rows of several batches are stacked.
        """
        matrix = hsic_matrix(centered_gram(_rows(subject.values)), self.estimator)
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
        return ratio(float(xy), a[:, 1].sum(), b[:, 1].sum())

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the central 95% over permutations of one network's images (within each batch)."""
        a, b = _same_images(a, b)
        if self.estimator == "debiased":
            return permutation_band(a[:, :INVARIANTS], b[:, :INVARIANTS])
        n = int(a[0, 0])
        return shuffled_band(*(torch.from_numpy(r[0, INVARIANTS:]).view(n, n) for r in (a, b)))


@takes_arrays
def _rows(activations: Tensor) -> Tensor:
    """Return (n, d) features in memory order, since CKA does not depend on their order."""
    if activations.ndim == 4 and activations.is_contiguous(memory_format=torch.channels_last):
        activations = activations.permute(0, 2, 3, 1)
    return activations.reshape(len(activations), -1)


def _same_images(a: Array, b: Array) -> tuple[Array, Array]:
    if a.shape != b.shape:
        raise ShapeError(
            f"representations have shapes {a.shape} and {b.shape}, expected equal ones; show both "
            "networks the same images"
        )
    return np.atleast_2d(a), np.atleast_2d(b)
