"""Similarity of the covariances of filters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from repsim_energy.interfaces import Direction, FilterBank, OperatesOn
from repsim_energy.numerics.covariance.matrix import (
    diagonality,
    effective_rank,
    filter_covariance,
    independent_diagonality,
    misalignment_or_nan,
)
from repsim_energy.numerics.covariance.null import (
    covariance_null_interval,
    misalignment_null_interval,
)
from repsim_energy.numerics.covariance.similarity import (
    CovarianceKind,
    check_kind,
    covariance_values,
)
from repsim_energy.results import Variable

__all__ = ["CovarianceSimilarity"]

Array = NDArray[np.float64]

HEAD = 2
"""Numbers before the covariance in a representation: of filters, and of components of the patches,
those without variance included."""


class CovarianceSimilarity:
    r"""Similarity of the covariances of two filter banks on one patch basis.

    .. math:: C = \tfrac1K\, U W^\top W U^\top, \qquad
        S(W, V) = \frac{\langle C_W, C_V\rangle}{\|C_W\|_F\,\|C_V\|_F}

    Energy profiles are the square roots of the diagonals. Two banks with equal profiles can have
    different covariances.

    Parameters
    ----------
    kind : ``cosine``; ``bures``, the normalized Bures similarity; or ``operator``, a distance, the
        operator norm of the difference of covariances that have operator norm 1

    Source: Guth, Ménard, Rochette and Mallat (2024), "A Rainbow in Deep Network Black Boxes",
    arXiv:2305.18512.
    """

    name = "covariance"
    operates_on: OperatesOn = "filters"
    bounds = (0.0, 1.0)
    invariances = frozenset({"permutation", "scale", "orthogonal"})

    def __init__(self, *, kind: CovarianceKind = "cosine") -> None:
        check_kind(kind)
        self.kind = kind
        self.direction: Direction = "distance" if kind == "operator" else "similarity"

    def represent(self, subject: FilterBank) -> Array:
        """Return the numbers of filters and of components, and the covariance of the filters.

        Returns
        -------
        (2 + r²,) float64
        """
        covariance = filter_covariance(subject.filters, subject.basis)
        sizes = (len(subject.filters), subject.basis.components.shape[1])
        return np.concatenate([sizes, covariance.ravel()])

    def compare(self, a: Array, b: Array) -> float:
        """Return the similarity of two representations. It is NaN if all weights are zero."""
        return float(self._values(np.stack([a, b]))[0, 1])

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the central 95% for independent white random filters of the same numbers."""
        size = math.isqrt(len(a) - HEAD)
        return covariance_null_interval(int(a[0]), int(b[0]), size, self.kind)

    def compare_all(self, stack: Array) -> tuple[Array, Array, Array]:
        """Return the (m, m) similarities of m representations and the ends of null intervals."""
        counts, at = np.unique(stack[:, 0].astype(int), return_inverse=True)
        size = math.isqrt(stack.shape[1] - HEAD)
        ends = np.array(
            [[covariance_null_interval(a, b, size, self.kind) for b in counts] for a in counts]
        )
        low, high = np.moveaxis(ends, -1, 0)
        return self._values(stack), low[np.ix_(at, at)], high[np.ix_(at, at)]

    def compare_stacks(self, stacks: Array) -> Array:
        """Return the (n, m, m) similarities within each of n stacks of m representations."""
        return np.stack([self._values(stack) for stack in stacks])

    def variables(self, representation: Array) -> Mapping[str, Variable]:
        """Return the covariance of one network, and its shape in single numbers."""
        filters, components = (int(n) for n in representation[:HEAD])
        covariance = _square(representation)
        size = len(covariance)
        padded = np.full((components, components), np.nan)
        padded[:size, :size] = covariance
        low, high = misalignment_null_interval(filters, size)
        white = "of the misalignment of as many independent white random filters"
        return {
            "covariance": Variable(
                ("component", "component_ref"),
                padded,
                "covariance of the filters along two components, at the stage compared",
                "weight units squared",
            ),
            "diagonality": Variable(
                (),
                diagonality(covariance),
                "share of the squared covariances that is on the diagonal, 1 in the theory",
            ),
            "diagonality_null": Variable(
                (),
                independent_diagonality(covariance, filters),
                "diagonality of as many random filters with this energy profile and independent "
                "responses to the components",
            ),
            "misalignment": Variable(
                (),
                misalignment_or_nan(covariance),
                "misalignment of the filters with the components, NaN for a covariance without "
                "inverse, as of fewer filters than components",
            ),
            "misalignment_null_low": Variable((), low, f"lower end of the central 95% {white}"),
            "misalignment_null_high": Variable((), high, f"upper end of the central 95% {white}"),
            "effective_rank": Variable(
                (), effective_rank(covariance), "effective number of directions of the filters"
            ),
        }

    def _values(self, stack: Array) -> Array:
        return covariance_values(np.stack([_square(row) for row in stack]), self.kind)


def _square(representation: Array) -> Array:
    size = math.isqrt(len(representation) - HEAD)
    return representation[HEAD:].reshape(size, size)
