"""``repsim experiment``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from repsim_energy.cli.options import DEVICE, QUIET, scheduler_options
from repsim_energy.cli.parameters import SEEDS
from repsim_energy.cli.reproduce import run_experiments
from repsim_energy.lecture import EXPERIMENTS
from repsim_energy.paper.scales import SCALES

__all__ = ["experiment"]


def _names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Complete the names of experiments."""
    names = ("list", "all", *(one.name for one in EXPERIMENTS))
    return [name for name in names if name.startswith(incomplete)]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="list|all|NAME...", shell_complete=_names)
@click.option(
    "--scale",
    type=click.Choice(list(SCALES)),
    default="cpu",
    show_default=True,
    help="Problem size: smoke (tiny, seconds), cpu (minutes), full (larger images and networks).",
)
@click.option(
    "--seeds",
    type=SEEDS,
    metavar="N|A-B|A,B,...",
    help="Seeds: a count (3), a range (0-4) or a list (0,3,7). [default: by --scale]",
)
@scheduler_options
@DEVICE
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("experiments"),
    show_default=True,
    metavar="DIR",
    help="Directory for tables, figures and results.",
)
@QUIET
@click.pass_context
def experiment(
    ctx: click.Context, /, names: tuple[str, ...], output: Path, quiet: bool, **options: Any
) -> int:
    """Measure what first layers and fixed representations can do, beside theory.

    Example: repsim experiment nterm -o out
    """
    unused = dict.fromkeys(("dataset", "cifar100", "celeba", "imagenet", "recipe", "components"))
    return run_experiments(ctx, EXPERIMENTS, names, output, quiet, unused | options)
