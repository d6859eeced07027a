"""Options of commands that compare networks."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from repsim_energy.cli.completion import alternatives, names_of
from repsim_energy.cli.options import Command, training_options, with_options
from repsim_energy.cli.parameters import LIST, WORDS

__all__ = ["comparison_options", "output_options"]

METRIC = (
    click.option(
        "--metric",
        default="energy",
        show_default=True,
        metavar="SPEC",
        shell_complete=names_of("metric"),
        help="Metric to compare by, see repsim metrics.",
    ),
)

COMPARED = (
    click.option(
        "--stage",
        default="auto",
        metavar="auto|init|trained|change",
        shell_complete=alternatives,
        show_default=True,
        help="init, trained, change (trained minus init), or auto: change if all initial weights "
        "are known, else trained. For metrics on filters.",
    ),
    click.option(
        "--patch",
        default="auto",
        show_default=True,
        metavar="auto|HEIGHTxWIDTH",
        help="Size of the patches in pixels, at least that of the largest filters, to compare "
        "filters of different sizes: each is averaged over all places where it fits. For metrics "
        "on filters.",
    ),
    click.option(
        "--null",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="Null of intervals and p-values: white, smooth or spectrum for metrics on filters; "
        "permutation or rotation for metrics on activations; metric for the metric's own interval.",
    ),
    click.option(
        "--layer",
        "layers",
        default="first",
        show_default=True,
        type=LIST,
        metavar="[LABEL=]NAME[|NAME],...",
        help="Layers to compare: first, convs (all convolutions), or names of submodules, with "
        "LABEL=NAME|NAME where models name a layer differently; output for metrics on activations, "
        "all (convolutions and linear layers) for metrics on filters.",
    ),
    click.option(
        "--align",
        default="",
        metavar="rank|input",
        shell_complete=alternatives,
        help="How to compare filters of deeper layers, whose bases differ: rank (component i with "
        "component i), or input (through an alignment of the inputs of both layers).",
    ),
    click.option(
        "--pool",
        default="flatten",
        show_default=True,
        type=WORDS,
        metavar="WORD|MODEL=WORD,...",
        help="Positions of layers: flatten (every one has features of its own), mean, max, or none "
        "(every one is a sample). For metrics on activations.",
    ),
    click.option(
        "--tokens",
        default="all",
        show_default=True,
        type=WORDS,
        metavar="WORD|MODEL=WORD,...",
        help="Tokens of transformers: all, cls (the class token) or mean. For metrics on "
        "activations.",
    ),
    click.option(
        "--images",
        default=1000,
        show_default=True,
        type=click.IntRange(min=1),
        help="Maximum number of images that networks are shown: test images for metrics on "
        "activations, training images for filters of deeper layers.",
    ),
    click.option(
        "--resamples",
        type=click.IntRange(min=0),
        metavar="N",
        help="Groups of images, of which half-samples are compared for confidence intervals. "
        "[default: 20 for metrics on filters, else 0]",
    ),
    click.option(
        "--precision",
        default="float32",
        show_default=True,
        metavar="float32|bfloat16",
        shell_complete=alternatives,
        help="Precision of the passes that show images to networks. bfloat16 is faster on "
        "processors with units for it; its effect is measured on the first images, and refused if "
        "it is large. For metrics on activations.",
    ),
    click.option(
        "--pairs",
        default="all",
        show_default=True,
        type=WORDS,
        metavar="all|summary|MODEL=GROUP,...",
        help="Similarities of all pairs, or for thousands of networks a summary: number, mean, "
        "standard deviation and extremes between models, or between groups of models. For metrics "
        "on filters.",
    ),
    click.option(
        "--normalize",
        default="auto",
        type=WORDS,
        metavar="WORD|MODEL=WORD,...",
        help="Normalization of images for given networks: auto, none, dataset, imagenet, cifar or "
        "MEAN/STD. For metrics that show images to networks.",
    ),
    click.option(
        "--answer",
        default="",
        type=WORDS,
        metavar="ENTRY|MODEL=ENTRY,...",
        help="For networks with several outputs: which one to use, such as logits.",
    ),
    click.option(
        "--fold",
        default="",
        type=WORDS,
        metavar="bn|MODEL=bn,...",
        help="Fold the batch norm that follows the first layer into its filters. For metrics on "
        "filters.",
    ),
    click.option(
        "--channels",
        default="",
        type=WORDS,
        metavar="bgr|MODEL=bgr,...",
        help="Order of the color channels of given networks: rgb, or bgr (Caffe, OpenCV); luma if "
        "they see gray, 0.299 R + 0.587 G + 0.114 B.",
    ),
)

OUTPUT = (
    click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path),
        metavar="FILE.nc",
        help="Write the result as netCDF.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


def comparison_options(command: Command) -> Command:
    """Add the options of what is compared, and how."""
    return with_options(METRIC, training_options(with_options(COMPARED, command)))


def output_options(command: Command) -> Command:
    """Add the options of where a result goes."""
    return with_options(OUTPUT, command)
