"""``repsim compare``."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli.app import in_options, registry_of, say
from repsim_energy.cli.options import parse_seeds, parse_words, refuse_inputs, training_options
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_json, print_result
from repsim_energy.errors import RepsimError, visible
from repsim_energy.specs import split_list
from repsim_energy.storage import check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare", "report_failures"]

WORDS = ("normalize", "answer", "fold", "channels")
"""Options that take one word for all models, or a word for each model."""


@click.command()
@click.option(
    "--metric", default="energy", show_default=True, metavar="SPEC", help="See: repsim metrics."
)
@training_options
@click.option(
    "--stage",
    default="auto",
    show_default=True,
    help="init, trained, change (trained minus init), or auto: change if all initial weights are "
    "known, else trained. For metrics on filters.",
)
@click.option(
    "--layer",
    "layers",
    default="first",
    show_default=True,
    metavar="NAME,...",
    help="first, output, names of submodules, or convs for all convolutions. For metrics on "
    "activations.",
)
@click.option(
    "--images",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of test images that networks are shown. For metrics on activations.",
)
@click.option(
    "--normalize",
    metavar="WORD|MODEL=WORD,...",
    help="Normalization of images for given networks: auto, none, dataset, imagenet, cifar or "
    "MEAN/STD. For metrics on activations.",
)
@click.option(
    "--answer",
    metavar="ENTRY|MODEL=ENTRY,...",
    help="For networks with several outputs: which one to use, such as logits.",
)
@click.option(
    "--fold",
    metavar="bn|MODEL=bn,...",
    help="Fold the batch norm that follows the first layer into its filters. For metrics on "
    "filters.",
)
@click.option(
    "--channels",
    metavar="bgr|MODEL=bgr,...",
    help="Order of the color channels of given networks: rgb, or bgr (Caffe, OpenCV).",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE.nc",
    help="Write the result as netCDF.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    models: str,
    dataset: str,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    layers: str,
    seeds: str,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Compare what networks represent. Architectures that are not in the cache are trained.

    Example: repsim compare --metric energy --models vgg11,resnet18 -o result.nc
    """
    if output is not None:
        refuse_inputs(output, split_list(models), split_list(dataset))
        check_writable(output)
    for name in WORDS:
        options |= parse_words(name, options.pop(name))
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # networks may print
        result = rs.compare(
            split_list(models),
            split_list(dataset),
            layers=split_list(layers),
            seeds=parse_seeds(seeds),
            reporter=reporter,
            registry=registry_of(ctx),
            scheduler=scheduler or "local",
            **options,
        )
    result.attrs["command"] = visible(shlex.join(sys.argv))
    return _report(ctx, result, output, as_json)


def _report(ctx: click.Context, result: xr.Dataset, output: Path | None, as_json: bool) -> int:
    """Write and print a result, and return the exit code.

    A result that cannot be written, for example on a full disk, is printed before the error.
    """
    error = None
    try:
        if output is not None:
            rs.save_result(result, output)
    except RepsimError as raised:
        error = raised
    if as_json:
        print_json(result)
    else:
        print_result(result)
    code = report_failures(ctx, result.attrs["failures"].splitlines())
    if error is not None:
        raise error
    return code


def report_failures(ctx: click.Context, failures: list[str]) -> int:
    """Print the failures and return the exit code: 3 if there are any."""
    for failure in failures:
        say(in_options(f"failed: {failure}", ctx))
    return 3 if failures else 0
