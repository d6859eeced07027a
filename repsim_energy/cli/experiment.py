"""``repsim experiment``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from repsim_energy.cli.reproduce import (
    CIFAR10,
    MNIST,
    NATURAL,
    RECIPE,
    experiment_options,
    run_experiments,
)
from repsim_energy.experiments.lecture import EXPERIMENTS

__all__ = ["experiment"]


@click.command()
@CIFAR10
@MNIST
@NATURAL
@experiment_options(
    EXPERIMENTS,
    "smoke (tiny, seconds), cpu (minutes), full (larger images and networks)",
    "experiments",
)
@RECIPE
@click.pass_context
def experiment(
    ctx: click.Context, /, names: tuple[str, ...], output: Path, quiet: bool, **options: Any
) -> int:
    """Measure what first layers and fixed representations can do, beside theory.

    Example: repsim experiment nterm -o out
    """
    return run_experiments(ctx, EXPERIMENTS, names, output, quiet, options)
