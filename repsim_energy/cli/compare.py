"""``repsim compare``."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.completion import alternatives, names_of
from repsim_energy.cli.messages import in_options, say
from repsim_energy.cli.options import refuse_inputs, training_options
from repsim_energy.cli.parameters import LIST, WORDS
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.result_text import print_result
from repsim_energy.cli.tables import print_json
from repsim_energy.errors import RepsimError, visible
from repsim_energy.storage import check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare", "report_failures"]


@click.command()
@click.option(
    "--metric",
    default="energy",
    show_default=True,
    metavar="SPEC",
    shell_complete=names_of("metric"),
    help="Metric to compare by, see repsim metrics.",
)
@training_options
@click.option(
    "--stage",
    default="auto",
    metavar="auto|init|trained|change",
    shell_complete=alternatives,
    show_default=True,
    help="init, trained, change (trained minus init), or auto: change if all initial weights are "
    "known, else trained. For metrics on filters.",
)
@click.option(
    "--patch",
    default="auto",
    show_default=True,
    metavar="auto|HEIGHTxWIDTH",
    help="Size of the patches in pixels, at least that of the largest filters, to compare filters "
    "of different sizes: each is averaged over all places where it fits. For metrics on filters.",
)
@click.option(
    "--null",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Null of intervals and p-values: white, smooth or spectrum for metrics on filters; "
    "permutation or rotation for metrics on activations; metric for the metric's own interval.",
)
@click.option(
    "--layer",
    "layers",
    default="first",
    show_default=True,
    type=LIST,
    metavar="[LABEL=]NAME[|NAME],...",
    help="Layers to compare: first, convs (all convolutions), or names of submodules, with "
    "LABEL=NAME|NAME where models name a layer differently; output for metrics on activations, all "
    "(convolutions and linear layers) for metrics on filters.",
)
@click.option(
    "--align",
    default="",
    metavar="rank|input",
    shell_complete=alternatives,
    help="How to compare filters of deeper layers, whose bases differ: rank (component i with "
    "component i), or input (through an alignment of the inputs of both layers).",
)
@click.option(
    "--pool",
    default="flatten",
    show_default=True,
    type=WORDS,
    metavar="WORD|MODEL=WORD,...",
    help="Positions of layers: flatten (every one has features of its own), mean, max, or none "
    "(every one is a sample). For metrics on activations.",
)
@click.option(
    "--tokens",
    default="all",
    show_default=True,
    type=WORDS,
    metavar="WORD|MODEL=WORD,...",
    help="Tokens of transformers: all, cls (the class token) or mean. For metrics on activations.",
)
@click.option(
    "--images",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Maximum number of images that networks are shown: test images for metrics on "
    "activations, training images for filters of deeper layers.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    metavar="N",
    help="Groups of images, of which half-samples are compared for confidence intervals. "
    "[default: 20 for metrics on filters, else 0]",
)
@click.option(
    "--normalize",
    default="auto",
    type=WORDS,
    metavar="WORD|MODEL=WORD,...",
    help="Normalization of images for given networks: auto, none, dataset, imagenet, cifar or "
    "MEAN/STD. For metrics that show images to networks.",
)
@click.option(
    "--answer",
    default="",
    type=WORDS,
    metavar="ENTRY|MODEL=ENTRY,...",
    help="For networks with several outputs: which one to use, such as logits.",
)
@click.option(
    "--fold",
    default="",
    type=WORDS,
    metavar="bn|MODEL=bn,...",
    help="Fold the batch norm that follows the first layer into its filters. For metrics on "
    "filters.",
)
@click.option(
    "--channels",
    default="",
    type=WORDS,
    metavar="bgr|MODEL=bgr,...",
    help="Order of the color channels of given networks: rgb, or bgr (Caffe, OpenCV); luma if they "
    "see gray, 0.299 R + 0.587 G + 0.114 B.",
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
    models: list[str],
    dataset: list[str],
    output: Path | None,
    as_json: bool,
    quiet: bool,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Compare what networks represent. Architectures that are not in the cache are trained.

    Example: repsim compare --metric energy --models vgg11,resnet18 -o result.nc
    """
    if output is not None:
        refuse_inputs(output, models, dataset)
        check_writable(output)
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # networks may print
        result = rs.compare(
            models,
            dataset,
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
