"""Kinds of figures: what each draws, and the table of its numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.plot.component_figures import components, components_table, spectrum
from repsim_energy.plot.filter_grids import filters, filters_table
from repsim_energy.plot.fit_markers import fit, fit_table
from repsim_energy.plot.interval_rows import intervals, intervals_table
from repsim_energy.plot.profile_curves import profiles, profiles_table
from repsim_energy.plot.residual_curves import residuals, residuals_table
from repsim_energy.plot.similarity_map import similarity, similarity_table
from repsim_energy.plot.training_course import trajectory, trajectory_table
from repsim_energy.results.whole import check_whole, refuse_grid

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["KINDS", "kinds_of", "table"]


class Kind(NamedTuple):
    """A kind of figure: its function, its table, and the variable that a result needs for it."""

    draw: Callable[..., Any]
    table: Callable[..., pd.DataFrame]
    needs: str


KINDS = {
    "profiles": Kind(profiles, profiles_table, "energy"),
    "residuals": Kind(residuals, residuals_table, "theory_residual"),
    "similarity": Kind(similarity, similarity_table, "similarity"),
    "intervals": Kind(intervals, intervals_table, "similarity"),
    "fit": Kind(fit, fit_table, "fit_correlation"),
    "filters": Kind(filters, filters_table, "energy"),
    "components": Kind(components, components_table, "components"),
    "trajectory": Kind(trajectory, trajectory_table, "snapshot_energy"),
    "spectrum": Kind(spectrum, components_table, "eigenvalue"),
}


def kinds_of(result: xr.Dataset) -> list[str]:
    """Return the kinds of figures for which a result has the variables."""
    return [name for name, kind in KINDS.items() if kind.needs in result.data_vars]


def table(result: xr.Dataset, kind: str, *, stage: str | None = None) -> pd.DataFrame:
    """Return the numbers that a figure draws as a tidy table.

    Parameters
    ----------
    result : of :func:`~repsim_energy.compare`
    kind : ``profiles``, ``residuals``, ``similarity``, ``intervals``, ``fit``, ``filters``,
        ``components``, ``trajectory`` or ``spectrum``
    stage : of ``profiles`` and ``filters``: ``init``, ``trained`` or ``change``; by default the
        stage that was compared

    Returns
    -------
    pandas.DataFrame
        Columns with labels first, then numbers; of profiles for example ``dataset``, ``model``,
        ``component``, then ``mean``, ``low`` and ``high`` over seeds.

    Raises
    ------
    UsageError
        For another kind or stage, a result that does not have it, or ``stage`` with another kind
        than those two.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(4, 1, 3, 3)}, torch.rand(20, 1, 8, 8))
    >>> len(rs.plot.table(result, "profiles"))
    9
    """
    if kind not in KINDS:
        raise unknown_name("kind of figure", kind, KINDS)
    check_whole(result)
    refuse_grid(result)
    if stage is None:
        return _made(KINDS[kind].table, result)
    if "stage" not in inspect.signature(KINDS[kind].table).parameters:
        raise UsageError(
            f"got stage='{stage}', which the table of {kind} does not select by; leave it out"
        )
    return _made(KINDS[kind].table, result, stage)


def _made(make: Callable[..., pd.DataFrame], result: xr.Dataset, *stage: str) -> pd.DataFrame:
    """Return a table, or the name of what the result lacks for it."""
    try:
        return make(result, *stage)
    except KeyError as error:
        raise UsageError(
            f"got a result without what this table needs ({error}), expected a whole one; compare "
            "again"
        ) from error
