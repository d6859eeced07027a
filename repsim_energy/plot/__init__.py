"""Figures of a result, public as ``repsim_energy.plot``. They need the extra ``plot``.

Every function draws into matplotlib axes and returns them. ``table(result, kind)`` returns the
numbers that the function of this name draws.
"""

from __future__ import annotations

from repsim_energy.plot.component_figures import components, spectrum
from repsim_energy.plot.filter_grids import filters
from repsim_energy.plot.fit_markers import fit
from repsim_energy.plot.interval_rows import intervals
from repsim_energy.plot.kinds import table
from repsim_energy.plot.profile_curves import profiles
from repsim_energy.plot.residual_curves import residuals
from repsim_energy.plot.similarity_map import similarity
from repsim_energy.plot.training_course import trajectory

__all__ = [
    "components",
    "filters",
    "fit",
    "intervals",
    "profiles",
    "residuals",
    "similarity",
    "spectrum",
    "table",
    "trajectory",
]
