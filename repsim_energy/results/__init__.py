"""Results: their schema, their files, and their summary."""

from __future__ import annotations

from repsim_energy.results.accessor import RepsimAccessor
from repsim_energy.results.adjust import adjust_p_values
from repsim_energy.results.attributes import as_comparison
from repsim_energy.results.component_coords import (
    COMPONENT_COORDS,
    component_coords,
    with_component_coords,
)
from repsim_energy.results.equivalence import Equivalence, equivalence
from repsim_energy.results.example import example_result
from repsim_energy.results.files import (
    list_groups,
    open_result,
    plain,
    save_result,
    save_results,
    to_json,
)
from repsim_energy.results.grid import axes_in, join_results
from repsim_energy.results.schema import SCHEMA_VERSION, Variable, assemble
from repsim_energy.results.summary import summarize
from repsim_energy.results.tables import pairs, profiles, runs, table, to_dataframe

__all__ = [
    "COMPONENT_COORDS",
    "Equivalence",
    "RepsimAccessor",
    "SCHEMA_VERSION",
    "Variable",
    "adjust_p_values",
    "as_comparison",
    "axes_in",
    "assemble",
    "component_coords",
    "equivalence",
    "example_result",
    "join_results",
    "list_groups",
    "open_result",
    "pairs",
    "plain",
    "profiles",
    "runs",
    "save_result",
    "save_results",
    "summarize",
    "table",
    "to_dataframe",
    "to_json",
    "with_component_coords",
]
