"""``repsim profile``."""

from __future__ import annotations

import math
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.completion import datasets_or_paths, models_or_files
from repsim_energy.cli.options import DEVICE, QUIET, refuse_inputs, scheduler_options
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_json, print_rows
from repsim_energy.errors import visible
from repsim_energy.files.storage import check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["profile"]

DEFAULT_IMAGES = "deadleaves"

MAX_WIDTH = 78
"""Characters of a line of text."""

MAX_COMPONENTS = 30
"""Number of components whose energies are printed."""

NAMED_BEYOND = 3
"""Number of entries that are named as most similar beyond the theory."""


@click.command()
@click.argument("model", metavar="[LABEL=]SPEC|FILE", shell_complete=models_or_files)
@click.option(
    "--images",
    default=DEFAULT_IMAGES,
    show_default=True,
    metavar="FOLDER|FILE.npz|SPEC",
    shell_complete=datasets_or_paths,
    help="Images whose patches the filters are measured on.",
)
@click.option(
    "--fold",
    default="",
    metavar="bn",
    help="Fold the batch norm that follows the first layer into the filters, also in the atlas.",
)
@click.option(
    "--channels",
    default="",
    metavar="bgr",
    help="Order of the color channels of a given network: rgb, or bgr (Caffe, OpenCV).",
)
@click.option(
    "--nearest",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Number of the most similar entries of the atlas to list.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the training.")
@click.option(
    "--recipe",
    default="quick",
    show_default=True,
    metavar="SPEC",
    help="Training recipe of an architecture that is not in the cache.",
)
@DEVICE
@scheduler_options
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE.nc",
    help="Write the result, a comparison with the atlas, as netCDF.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a page of the network and the most similar entries.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@QUIET
@click.pass_context
def profile(
    ctx: click.Context,
    /,
    model: str,
    images: str,
    nearest: int,
    output: Path | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
    scheduler: str | None,
    **options: Any,
) -> None:
    """Describe the first layer of one network, and find similar ones in the atlas.

    The atlas has first layers of networks that other people trained, and comes with the package.
    Printed are the energy profile, its fit by the theory, dead and duplicate filters, and the
    entries of the atlas whose profiles correlate most.

    Example: repsim profile my.safetensors --images ./photos
    """
    for path in filter(None, (output, report)):
        refuse_inputs(path, [model], [images])
        check_writable(path)
    if report is not None:
        lazy.html.check_jinja2()
        lazy.style.check_matplotlib()
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # networks may print
        result = rs.profile_network(
            model,
            images,
            **options,
            scheduler=scheduler or "local",
            reporter=reporter,
            registry=registry_of(ctx),
        )
    result.attrs["command"] = visible(shlex.join(sys.argv))
    if as_json:
        print_json(result)
    else:
        _print(result, nearest, default=images == DEFAULT_IMAGES)
    if output is not None:
        rs.save_result(result, output)
    if report is not None:
        _write_report(result, report, nearest)


def _write_report(result: xr.Dataset, path: Path, nearest: int) -> None:
    """Write the page of the network and its nearest entries."""
    import matplotlib

    matplotlib.use("agg")  # opens no window
    some = [0, *_nearest(result, "similarity")[:nearest]]
    rs.write_report(result.isel(model=some, model_ref=some), path)


def _nearest(result: xr.Dataset, of: str) -> list[int]:
    """Return the indices of the entries with a similarity to the network, most similar first."""
    values = result[of].values[0, 0, 0, 0, 1:, 0]
    known = [index for index, value in enumerate(values, 1) if not math.isnan(value)]
    return sorted(known, key=lambda index: -values[index - 1])


def _print(result: xr.Dataset, nearest: int, *, default: bool) -> None:
    """Print the page of a network.

    Parameters
    ----------
    default : whether the images are those without ``--images``
    """
    own = result.isel(dataset=0, model=0, seed=0).sel(stage=result.attrs["stage"])
    _print_lines((*_facts(own, default), *_warnings(own)))
    order = _nearest(result, "similarity")
    left_out = result.attrs["atlas_left_out"]
    entries = f"{len(order)} networks of the atlas ({left_out} see patches of other sizes)"
    if not order:
        click.echo(f"nothing to compare with: {entries}")
        return
    click.echo(f"most similar of {entries}:")
    pairs = _pairs(result)
    rows = [
        [
            str(pairs.model_ref.values[index]),
            str(result.family.values[index]),
            _number(pairs.similarity.values[index]),
            _number(pairs.beyond_theory.values[index]),
        ]
        for index in order[:nearest]
    ]
    print_rows(["network", "family", "r", "r beyond theory"], rows, numbers=True)
    _print_lines(_nulls(result, order[0]))


def _print_lines(lines: Iterable[str]) -> None:
    """Print lines, broken where they are too long."""
    for line in lines:
        for part in textwrap.wrap(visible(line), MAX_WIDTH, subsequent_indent="  "):
            click.echo(part)


def _pairs(result: xr.Dataset) -> xr.Dataset:
    """Return the numbers of the pairs of the network with all models, by ``model_ref``."""
    return result.isel(dataset=0, model=0, seed=0, dataset_ref=0, seed_ref=0)


def _facts(own: xr.Dataset, default: bool) -> Iterator[str]:
    """Yield the numbers of the network, a line for each subject."""
    shape = "x".join(str(own.sizes[dim]) for dim in ("kh", "kw", "c"))
    layer = f" of layer {own.first_layer.item()}" if own.first_layer.item() else ""
    folded = f", {own.folded.item()} folded into them" if own.folded.item() else ""
    yield f"{own.model.item()}: {int(own.filters)} filters {shape}{layer}{folded}"
    hint = " (rendered, the default; --images FOLDER for your own)" if default else ""
    yield f"on the patches of {own.dataset.item()}{hint}"
    bound = ", at the end of the range searched" if own.fit_at_bound == 1 else ""
    described = "" if own.theory_residual.notnull().any() else "; it does not describe this network"
    yield f"theory: r {_number(own.fit_correlation)} at t = {own.fit_steps:.4g}{bound}{described}"
    yield (
        f"distance to whitening: {_number(own.whitening_distance)} (0 whitening, 1 equal energy, "
        "2 one step)"
    )
    yield (
        f"effective rank {own.filters_effective_rank:.1f} (white random filters "
        f"{own.filters_effective_rank_random:.1f}), orthogonality "
        f"{_number(own.filters_orthogonality)} ({_number(own.filters_orthogonality_random)})"
    )
    entropy = (
        f", variance entropy {_number(own.filters_variance_entropy)} (random from "
        f"{_number(own.filters_variance_entropy_random)})"
        if not math.isnan(own.filters_variance_entropy)
        else ""
    )
    yield (
        f"dead {int(own.filters_dead)}, duplicates {int(own.filters_duplicates)}, "
        f"sparsity {_number(own.filters_sparsity)}{entropy}"
    )
    profile = own.energy.values
    largest = max((value for value in profile if value > 0), default=1.0)
    numbers = " ".join(_number(value / largest, 2) for value in profile[:MAX_COMPONENTS])
    shown = min(len(profile), MAX_COMPONENTS)
    yield f"energy profile, components 1 to {shown} of {len(profile)}, largest = 1: {numbers}"


def _warnings(own: xr.Dataset) -> Iterator[str]:
    """Yield lines on filters that do nothing, or the same as others."""
    filters, dead = int(own.filters), int(own.filters_dead)
    if dead:
        yield f"warning: {dead} of {filters} filters are dead, with norms below 1% of the largest"
    if groups := int(own.filters_duplicate_groups):
        yield (
            f"warning: {int(own.filters_duplicates)} of {filters} filters are duplicates of others "
            f"(|cosine| above 0.99, {groups} group{'s' if groups > 1 else ''})"
        )


def _nulls(result: xr.Dataset, index: int) -> Iterator[str]:
    """Yield what the numbers of the table are compared with."""
    pairs = _pairs(result)
    low, high = (_number(pairs[f"null_{end}"].values[index]) for end in ("low", "high"))
    yield f"r of white random filters: 95% between {low} and {high}"
    order = _nearest(result, "beyond_theory")[:NAMED_BEYOND]
    if order:
        ends = (pairs[f"beyond_null_{end}"].values[order[0]] for end in ("low", "high"))
        low, high = map(_number, ends)
        yield f"r beyond theory of networks that share no more: 95% between {low} and {high}"
    smooth, beyond = (_number(result[f"smooth_{name}threshold"]) for name in ("", "beyond_"))
    also = f", r beyond theory below {beyond}" if beyond != "-" else ""
    yield f"95% of random filters with its neighbor and color correlations: r below {smooth}{also}"
    values = pairs.beyond_theory.values
    named = ", ".join(f"{pairs.model_ref.values[i]} {_number(values[i])}" for i in order)
    if named:
        yield f"most similar beyond the theory: {named}"


def _number(value: Any, digits: int = 3) -> str:
    """Return a number as text, ``-`` for NaN."""
    number = float(value)
    return "-" if math.isnan(number) else f"{number:.{digits}f}"
