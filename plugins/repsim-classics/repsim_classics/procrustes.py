"""Orthogonal Procrustes distance."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import repsim_energy as rs

from repsim_classics.activations import Array, read_rows
from repsim_classics.choices import check_choice
from repsim_classics.coordinates import nuclear_norm, principal_coordinates, quick_nuclear_norm

__all__ = ["Procrustes"]

Form = Literal["squared", "angular"]


class Procrustes(rs.ShuffledMetric):
    r"""Orthogonal Procrustes distance of centered activations of unit norm.

    .. math:: d = \min_Q \|X - Y Q\|_F^2 = 2 - 2 \|X^\top Y\|_*,\qquad
        \theta = \arccos \|X^\top Y\|_*

    Q is orthogonal, and the narrower network is padded with features that are zero. ``squared`` (d)
    is 0 if a rotation of features maps one network to the other, and 2 if no feature of one
    correlates with any of the other. ``angular`` (:math:`\theta`) obeys the triangle inequality.

    Source: Ding, Denain and Steinhardt (2021), "Grounding Representation Similarity with
    Statistical Testing", for ``squared``; arXiv:2108.01661.

    Source: Williams, Kunz, Kornblith and Linderman (2021), "Generalized Shape Metrics on Neural
    Representations", for ``angular``; arXiv:2110.14739.

    Parameters
    ----------
    form : squared or angular
    """

    name = "procrustes"
    direction: Literal["similarity", "distance"] = "distance"
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def __init__(self, *, form: Form = "squared") -> None:
        check_choice("form", form, Form)
        self.form = form
        self.bounds = (0.0, 2.0) if form == "squared" else (0.0, math.pi / 2)

    def represent(self, subject: rs.Activations) -> Array:
        """Return the principal coordinates (n, r) of (n, ...) activations, with unit norm."""
        rows = read_rows(subject, self.name, least=3)
        basis, sizes = principal_coordinates(rows)
        if not len(sizes):
            return self.undefined((rows.shape[0], 1), "activations are the same for all images")
        return basis * (sizes / np.linalg.norm(sizes))

    def value(self, a: Array, b: Array) -> float:
        """Return the distance of two sets of principal coordinates."""
        return self._distance(nuclear_norm(a.T @ b))

    def approximate_value(self, a: Array, b: Array) -> float:
        """Return the distance from a faster sum of singular values."""
        return self._distance(quick_nuclear_norm(a.T @ b))

    def _distance(self, cosine: float) -> float:
        cosine = min(cosine, 1.0)
        return 2 - 2 * cosine if self.form == "squared" else math.acos(cosine)
