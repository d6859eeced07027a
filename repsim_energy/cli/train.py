"""``repsim train``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import rich_click as click

from repsim_energy.cli.app import registry_of
from repsim_energy.cli.compare import report_failures
from repsim_energy.cli.options import parse_seeds, training_options
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError
from repsim_energy.specs import split_list

if TYPE_CHECKING:
    from repsim_energy.comparison import Plan

__all__ = ["train"]


@click.command()
@training_options
@click.pass_context
def train(
    ctx: click.Context,
    models: str,
    dataset: str,
    seeds: str,
    recipe: str,
    device: str,
    scheduler: str | None,
    jobs: int | None,
    quiet: bool,
) -> int:
    """Make runs and keep them in the cache, where compare finds them.

    Example: repsim train --models vgg11 --dataset cifar10 --recipe paper --seeds 0-2
    """
    from repsim_energy.comparison import make_plan, train_networks
    from repsim_energy.scheduling import scheduler_of

    with (
        reporter_on_stderr(quiet) as reporter,
        scheduler_of(scheduler or "local", jobs) as opened,
    ):
        plan = make_plan(
            registry_of(ctx),
            split_list(models),
            split_list(dataset),
            parse_seeds(seeds),
            recipe,
            device,
        )
        _check_given(plan)
        networks, failures = train_networks(plan, opened, reporter)
    rows = [
        [
            plan.label(key),
            run.run_id,
            str(run.history.steps),
            f"{run.history.train_accuracy:.3f}",
            f"{run.test_accuracy:.3f}",
            str(run.folder or "memory alone"),
        ]
        for key, network in networks.items()
        if (run := network.run) is not None
    ]
    print_rows(["run", "id", "steps", "train acc.", "test acc.", "kept in"], rows)
    runs = {key: network.run for key, network in networks.items() if network.run is not None}
    unkept = [plan.label(key) for key, run in runs.items() if run.folder is None]
    if unkept and len(unkept) == len(runs):
        raise RepsimError(f"none of {len(runs)} runs could be kept; make room for the cache")
    return report_failures(ctx, [*failures, *(f"{label}: could not be kept" for label in unkept)])


def _check_given(plan: Plan) -> None:
    """Say which models are trained already and left out; refuse where all are."""
    given = [spec.label for m, spec in enumerate(plan.models) if (0, m) in plan.trained]
    if not plan.trains:
        raise UsageError(
            f"got models that are trained already ({', '.join(given)}), expected at least one to "
            "train, such as vgg11; compare takes them as they are"
        )
    for label in given:
        warnings.warn(f"'{label}' is trained already and left out", RepsimWarning, stacklevel=1)
