"""A result on stdout: its tables, and sentences that say what their numbers mean."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.cli.pair_tables import print_list, print_matrix
from repsim_energy.cli.run_table import has_energy, is_given, print_runs
from repsim_energy.cli.summary_text import print_summary
from repsim_energy.cli.sweep_text import print_sweep
from repsim_energy.cli.tables import format_number, print_line, width

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["print_result"]

LEVEL = 0.05
"""Largest p-value of a finding."""

MAX_LINE = 78
"""Characters of a line of a profile."""


def print_result(result: xr.Dataset) -> None:
    """Print the similarities between models (of one model across seeds on the diagonal), and runs.

    For a single model the energy profile is printed too. A sweep has a row for each point instead.
    """
    if lazy.results.axes_in(result):
        print_sweep(result)
        return
    if "mean_similarity" in result:
        print_summary(result)
        return
    summary = _summary(result, "similarity")
    stage = f", stage {result.attrs['stage']}" if "stage" in result.attrs else ""
    stage += f", align {result.attrs['align']}" if result.attrs.get("align") else ""
    title = f"{result.attrs['metric']} on {_datasets(result)}{stage}"
    compared = bool(summary.sizes["group"])
    beyond = _beyond(result)
    if not compared:
        print_line(title)
    elif not print_list(summary, beyond, title, result.attrs.get("direction", "similarity")):
        print_matrix(summary, title)
        if beyond is not None:
            print_matrix(beyond, "r beyond theory")
    print_runs(result)
    _print_facts(result)
    if result.sizes["model"] * result.sizes["dataset"] * result.sizes.get("layer", 1) == 1:
        _print_alone(result, compared=compared)
    if compared:
        _print_meaning(result, summary, beyond)


def _summary(result: xr.Dataset, of: str) -> xr.Dataset:
    """Return the means over seeds, without layers that only other models have."""
    summary = rs.summarize(result, of)
    known = summary if of == "similarity" else rs.summarize(result)
    with_value = known["mean"].notnull().any("group_ref").values
    return summary.isel(group=with_value, group_ref=with_value)


def _beyond(result: xr.Dataset) -> xr.Dataset | None:
    """Return the means of what filters share beyond the theory, if there are any."""
    if "beyond_theory" not in result or not bool(result.beyond_null_low.notnull().any()):
        return None
    return _summary(result, "beyond_theory")


def _print_facts(result: xr.Dataset) -> None:
    """Print how networks were trained, and which of their layers were read."""
    precision = json.loads(result.attrs["configuration"])["recipe"]["precision"]
    if precision != "float32" and bool((result.steps > 0).any()):
        print_line(f"trained in {precision}")
    if "precision" in result.attrs:
        print_line(
            f"images shown in {result.attrs['precision']}; on the first "
            f"{result.attrs['precision_images']}, that changes similarities by at most "
            f"{result.attrs['precision_change']} (median {result.attrs['precision_median_change']})"
        )
    if layers := _of_models(result, "first_layer"):
        print_line(f"filters of layer {layers}")
    if folded := _of_models(result, "folded"):
        print_line(f"folded into them: {folded}")


def _print_meaning(result: xr.Dataset, summary: xr.Dataset, beyond: xr.Dataset | None) -> None:
    """Print what was averaged, and which values unrelated networks have."""
    from repsim_energy.results.nulls import null_in_words  # here, so that other commands start fast

    print_line(_averaged(result))
    if over := result.attrs.get("interval_over", ""):
        what = "samples" if "n_samples" in result.coords else "images"
        print_line(f"95% interval: over {over.replace(', ', ' and ').replace('images', what)}")
    low, high = float(summary.null_low.mean()), float(summary.null_high.mean())
    band = f"95% between {low:.3f} and {high:.3f}" if low < high else "no null interval is known"
    print_line(f"{null_in_words(result)}: {band}")
    _print_findings(result)
    if beyond is not None:
        low, high = float(beyond.null_low.mean()), float(beyond.null_high.mean())
        print_line(
            f"r beyond theory of those that share no more: 95% between {low:.3f} and {high:.3f}"
        )
    _print_left_out(result)


def _print_findings(result: xr.Dataset) -> None:
    """Print how many pairs of networks are more similar than the null explains."""
    if "p_value" not in result:
        return
    p = rs.pairs(result)["p_bh"].dropna()
    if len(p):
        of = "layers" if "layer" in result.dims else "networks"
        print_line(
            f"more similar than these: {int((p <= LEVEL).sum())} of {len(p)} pairs of {of} "
            f"(p <= {LEVEL}, Benjamini-Hochberg)"
        )


def _print_left_out(result: xr.Dataset) -> None:
    """Print how many networks and components have no number beyond the theory."""
    if "theory_residual" not in result or not bool(result.null_low.notnull().any()):
        return
    stage = result.attrs["stage"]
    energy, known = result.energy.sel(stage=stage).notnull(), result.theory_residual.notnull()
    described = known.any("component")
    networks = int(energy.any("component").sum())
    left_out = networks - int(described.sum())
    if left_out:
        print_line(
            f"no r beyond theory of {left_out} of {networks} networks, which the theory does not "
            "describe, by r with theory"
        )
    without = int((energy & ~known).sum("component").where(described, 0).max())
    if without:
        print_line(f"left out of it: up to {without} components of a network, without energy")


def _print_alone(result: xr.Dataset, *, compared: bool) -> None:
    """Print the energy profile of a single model, and that it has none to be compared with."""
    model = str(result.model.values[0])
    if has_energy(result):
        profile = result.energy.sel(stage=result.attrs["stage"]).mean("seed").values.ravel()
        largest = max((value for value in profile if value > 0), default=1.0)
        print_line(f"energy profile of {model}, components 1 to {len(profile)}, largest = 1:")
        numbers = " ".join(format_number(float(value / largest)) for value in profile)
        for line in textwrap.wrap(numbers, min(width() or MAX_LINE, MAX_LINE)):
            print_line(f"  {line}")
    own = " but its own seeds" if compared else ""
    print_line(f"nothing to compare {model} with{own}; name another model with --models")


def _averaged(result: xr.Dataset) -> str:
    """Return over what the numbers of the table are averaged. Given networks have no seeds."""
    given = [str(model) for model in result.model.values if is_given(result.sel(model=model))]
    if len(given) == result.sizes["model"]:
        return "every network is given, so that there are no seeds to average over"
    seeds = "mean ± sd over n pairs of seeds, of a model with itself across seeds"
    return f"{seeds} (given, and thus one network: {', '.join(given)})" if given else seeds


def _of_models(result: xr.Dataset, coordinate: str) -> str:
    """Return the fact of each model as text, without models that have none."""
    if coordinate not in result.coords:
        return ""
    pairs = zip(result[coordinate].values, result.model.values, strict=True)
    return ", ".join(f"{fact} of {model}" for fact, model in pairs if fact)


def _datasets(result: xr.Dataset) -> str:
    return ", ".join(str(name) for name in result.dataset.values)
