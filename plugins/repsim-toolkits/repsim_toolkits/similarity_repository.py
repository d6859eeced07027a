"""The energy profile in the registry of similarity-repository (github.com/nacloos)."""

from __future__ import annotations

from repsim_toolkits.loading import load
from repsim_toolkits.matrices import energy_profile_angle, energy_profile_correlation

__all__ = ["MEASURES", "register"]

MEASURES = {
    "measure/repsim_energy/energy": energy_profile_correlation,
    "measure/repsim_energy/energy-distance=angular": energy_profile_angle,
}
"""Identifier -> ``f(X, Y) -> float``. The second follows the names that the registry gives to
other distances, such as ``procrustes-distance=angular``."""


def register() -> tuple[str, ...]:
    """Put the measures into the registry of ``similarity`` and return their identifiers.

    ``similarity.make("measure/*/*")`` finds them from then on, in this process. Registering again
    changes nothing.

    Raises
    ------
    repsim_energy.UsageError
        Where similarity-repository is not installed.
    """
    similarity = load(
        "similarity",
        "make",
        "register",
        toolkit="similarity-repository",
        remedy="pip install git+https://github.com/nacloos/similarity-repository",
    )
    for identifier, measure in MEASURES.items():
        similarity.register(identifier, measure)
    return tuple(MEASURES)
