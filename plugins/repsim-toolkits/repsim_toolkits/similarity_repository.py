"""Energy profile in the registry of similarity-repository (github.com/nacloos)."""

from __future__ import annotations

from repsim_toolkits.loading import load
from repsim_toolkits.matrices import energy_profile_angle, energy_profile_correlation

__all__ = ["MEASURES", "register"]

MEASURES = {
    "measure/repsim_energy/energy": energy_profile_correlation,
    "measure/repsim_energy/energy-distance=angular": energy_profile_angle,
}
"""Identifier -> ``f(X, Y) -> float``. The second name follows the registry's names of other
distances, such as ``procrustes-distance=angular``."""


def register() -> tuple[str, ...]:
    """Register the measures with ``similarity`` and return their identifiers.

    ``similarity.make("measure/*/*")`` then includes them, in this process. Registering again has no
    effect.

    Raises
    ------
    repsim_energy.UsageError
        If similarity-repository is not installed.
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
