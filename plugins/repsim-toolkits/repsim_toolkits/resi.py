"""Energy profile as a measure of the ReSi benchmark (github.com/mklabunde/resi)."""

# mypy: disallow-subclassing-any=false
# The toolkit's class is loaded at run time, so type checkers do not know it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import repsim_energy as rs

from repsim_toolkits.loading import load
from repsim_toolkits.matrices import energy_profile_correlation

if TYPE_CHECKING:
    from repsim_toolkits.matrices import Matrix

__all__ = ["EnergyProfileCorrelation"]

_Measure: Any = load(
    "repsim.measures.utils",
    "RepresentationalSimilarityMeasure",
    toolkit="ReSi, whose package is called repsim",
    remedy="in an environment of its own, clone github.com/mklabunde/resi and pip install -e it",
).RepresentationalSimilarityMeasure


def similarity(R: Matrix, Rp: Matrix, shape: str) -> float:  # noqa: N803, the names of ReSi
    """Return the similarity of two matrices, with ReSi's signature of a similarity function."""
    if shape != "nd":
        raise rs.UsageError(
            f"got representations of shape '{shape}', expected 'nd', (components, filters); "
            "activations have no energy profile, give component_matrix(network, basis)"
        )
    return energy_profile_correlation(R, Rp)


class EnergyProfileCorrelation(_Measure):
    """Correlation of energy profiles of (components, filters) matrices.

    The value does not change with an orthogonal matrix from the right, a permutation of the filters
    or a common factor. It changes if a vector is added to all rows, and with other linear maps.
    """

    def __init__(self) -> None:
        super().__init__(
            sim_func=similarity,
            larger_is_more_similar=True,
            is_symmetric=True,
            is_metric=False,
            invariant_to_affine=False,
            invariant_to_invertible_linear=False,
            invariant_to_ortho=True,
            invariant_to_permutation=True,
            invariant_to_isotropic_scaling=True,
            invariant_to_translation=False,
        )
