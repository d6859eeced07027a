"""``repsim visualize``."""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.completion import alternatives, datasets_or_paths, models_or_files
from repsim_energy.cli.options import DEVICE, QUIET, refuse_inputs
from repsim_energy.cli.parameters import UNITS
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import UsageError
from repsim_energy.files.storage import atomic_path, check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["visualize"]

NUMBERS = (".npz", ".nc")
"""Suffixes of files of numbers."""


@click.command()
@click.argument("model", metavar="[LABEL=]SPEC|FILE", shell_complete=models_or_files)
@click.option(
    "--layer",
    default="first",
    show_default=True,
    metavar="NAME",
    help="Layer: first, output, or the name of a submodule such as features.8.",
)
@click.option(
    "--unit",
    "units",
    default="all",
    show_default=True,
    type=UNITS,
    metavar="all|A-B|A,B,...",
    help="Channels of a convolutional layer, or features of a linear one.",
)
@click.option(
    "--dataset",
    default="deadleaves",
    show_default=True,
    metavar="SPEC[+VARIANT]",
    shell_complete=datasets_or_paths,
    help="Data set of the training, and of the size and pixel range of the images.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the training.")
@click.option(
    "--recipe",
    default="quick",
    show_default=True,
    metavar="SPEC",
    help="Training recipe: quick, paper or cifar, with changes such as quick:epochs=20.",
)
@click.option(
    "--position",
    default="center",
    show_default=True,
    metavar="center|mean",
    shell_complete=alternatives,
    help="Activation of a channel: at the central position, or the mean over positions.",
)
@click.option(
    "--parametrization",
    default="natural",
    show_default=True,
    metavar="natural|fourier|pixels",
    shell_complete=alternatives,
    help="Parameters of an image: Fourier coefficients of decorrelated colors, of channels, or "
    "pixels.",
)
@click.option("--steps", default=256, show_default=True, help="Gradient steps.")
@click.option("--jitter", default=1, show_default=True, help="Largest shift in pixels, per step.")
@click.option(
    "--tv",
    "total_variation",
    default=10.0,
    show_default=True,
    help="Weight of the total-variation prior; 0 for none.",
)
@click.option(
    "--norm",
    type=float,
    help="L2 norm of the difference to medium gray, instead of the range of the pixels.",
)
@click.option("--start", default=0, show_default=True, help="Seed of the random starts and shifts.")
@click.option("--axis", type=int, help="Axis of the layer's output that counts units, if unknown.")
@DEVICE
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE.svg|.png|.pdf",
    help="Write a sheet of the images; the suffix decides the format.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE.npz|.nc",
    help="Write the images as numbers.",
)
@QUIET
@click.pass_context
def visualize(
    ctx: click.Context,
    /,
    model: str,
    output: Path | None,
    save: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Draw the images that activate the units of a layer most.

    An architecture is trained as by repsim train, or read from the cache. Printed are the
    activation of each unit for its image, and the largest for one of 64 training images.

    Example: repsim visualize vgg11 --layer features.8 --unit 0-15 -o sheet.png
    """
    _check_outputs(output, save, model, options["dataset"])
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # plugins may print
        result = rs.maximize_activation(
            model, **options, output=output, reporter=reporter, registry=registry_of(ctx)
        )
    if save is not None:
        _save(result, save)
    rows = [
        [str(int(unit)), _number(reached), _number(largest)]
        for unit, reached, largest in zip(
            result.unit, result.activation, result.image_activation, strict=True
        )
    ]
    print_rows(["unit", "activation", "largest for an image"], rows, numbers=True)


def _check_outputs(output: Path | None, save: Path | None, model: str, dataset: str) -> None:
    """Refuse outputs that cannot be written, before any work."""
    if output is None and save is None:
        raise UsageError(
            "got no output, expected -o with a file such as sheet.png, or --save with one such as "
            "images.npz"
        )
    if output is not None:
        lazy.sheet.check_sheet(output)
    if save is not None:
        if save.suffix.lower() not in NUMBERS:
            raise UsageError(f"got --save '{save}', expected a name that ends in .npz or .nc")
        check_writable(save)
    for path in (output, save):
        if path is not None:
            refuse_inputs(path, [model], [dataset])


def _save(result: xr.Dataset, path: Path) -> None:
    """Write images and activations as NumPy arrays or as a result file."""
    if path.suffix.lower() == ".nc":
        rs.save_result(result, path)
        return
    arrays = {name: result[name].values for name in (*result.data_vars, "unit", "pixel_range")}
    with atomic_path(path) as temporary:
        lazy.array_files.write_npz(temporary, arrays, compressed=True)


def _number(value: xr.DataArray) -> str:
    number = float(value)
    return "silent" if math.isnan(number) else f"{number:.4g}"
