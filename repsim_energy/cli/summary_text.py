"""A summary of pairs on stdout."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import repsim_energy as rs
from repsim_energy.cli.run_table import print_runs
from repsim_energy.cli.tables import format_number, print_line, print_rows

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["print_summary"]

MAX_ROWS = 100
"""Pairs of groups, and networks, from which on a table is left out and its size is printed."""


def print_summary(result: xr.Dataset) -> None:
    """Print the mean similarities between groups of networks, and the networks if they are few.

    Parameters
    ----------
    result : of ``rs.compare(pairs="summary")``
    """
    summary = rs.summarize(result)
    groups = summary.group.values.tolist()
    datasets = ", ".join(map(str, result.dataset.values))
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    print_line(f"{result.attrs['metric']} on {datasets}{stage}")
    pairs = [(a, b) for a, b in combinations_with_replacement(range(len(groups)), 2)]
    if len(pairs) <= MAX_ROWS:
        rows = [
            [groups[a], groups[b], *_cells(summary.isel(group=a, group_ref=b))] for a, b in pairs
        ]
        print_rows(["", "", "similarity", "lowest", "highest", "n", "missing"], rows)
    else:
        print_line(f"{len(pairs)} pairs of groups: repsim show FILE.nc --what mean_similarity")
    upper = [(summary.n.values[a, b], summary.n_missing.values[a, b]) for a, b in pairs]
    known, missing = (sum(int(one[i]) for one in upper) for i in (0, 1))
    print_line(f"mean ± sd over {known:,} pairs of networks, {missing:,} without a similarity")
    networks = int((result.energy.notnull().any(("stage", "component"))).sum())
    if networks <= MAX_ROWS:
        print_runs(result)
    else:
        print_line(f"{networks:,} networks: repsim show FILE.nc --what runs")


def _cells(pair: xr.Dataset) -> list[str]:
    values = {str(name): float(value) for name, value in pair.data_vars.items()}
    return [
        format_number(values["mean"], values["spread"]),
        format_number(values["lowest"]),
        format_number(values["highest"]),
        f"{int(values['n']):,}",
        f"{int(values['n_missing']):,}",
    ]
