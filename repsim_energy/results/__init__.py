"""Results: their schema, their files, and their summary."""

from __future__ import annotations

from repsim_energy.results.component_coords import COMPONENT_COORDS, component_coords
from repsim_energy.results.files import open_result, save_result, save_results, to_json
from repsim_energy.results.schema import SCHEMA_VERSION, Variable, assemble
from repsim_energy.results.summary import summarize

__all__ = [
    "COMPONENT_COORDS",
    "SCHEMA_VERSION",
    "Variable",
    "assemble",
    "component_coords",
    "open_result",
    "save_result",
    "save_results",
    "summarize",
    "to_json",
]
