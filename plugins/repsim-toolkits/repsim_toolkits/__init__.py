"""Adapters of the energy profile to other similarity toolkits, one module per toolkit.

``rsatoolbox``, ``netrep``, ``similarity_repository``, ``simtorch``, ``wrongu_repsim`` and ``resi``
each import their toolkit only when they are used.
"""

from __future__ import annotations

from repsim_toolkits.matrices import (
    component_matrices,
    component_matrix,
    energy_profile_angle,
    energy_profile_correlation,
    energy_profile_of,
)

__all__ = [
    "component_matrices",
    "component_matrix",
    "energy_profile_angle",
    "energy_profile_correlation",
    "energy_profile_of",
]
