"""``repsim train``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.compare import report_failures
from repsim_energy.cli.options import training_options
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import RepsimError, UsageError, warn

if TYPE_CHECKING:
    from repsim_energy.comparison import Plan
    from repsim_energy.training.run_cache import Run

__all__ = ["train"]


@click.command()
@training_options
@click.pass_context
def train(
    ctx: click.Context,
    models: list[str],
    dataset: list[str],
    seeds: int | list[int],
    recipe: str,
    device: str,
    scheduler: str | None,
    jobs: int | None,
    retry_failed: bool,
    quiet: bool,
) -> int:
    """Train networks and store them in the cache, where compare finds them.

    Example: repsim train --models vgg11 --dataset cifar10 --recipe paper --seeds 0-2
    """
    with (
        reporter_on_stderr(quiet) as reporter,
        lazy.scheduling.scheduler_of(scheduler or "local", jobs) as opened,
    ):
        plan = lazy.comparison.make_plan(registry_of(ctx), models, dataset, seeds, recipe, device)
        _check_given(plan)
        networks, failures = lazy.comparison.train_networks(
            plan, opened, reporter, retry_failed=retry_failed
        )
    runs = {plan.label(key): one.run for key, one in networks.items() if one.run is not None}
    _print_runs(runs)
    not_stored = [label for label, run in runs.items() if run.folder is None]
    if not_stored and len(not_stored) == len(runs):
        raise RepsimError(f"none of {len(runs)} runs could be stored; make room for the cache")
    return report_failures(
        ctx, [*failures, *(f"{label}: could not be stored" for label in not_stored)]
    )


def _print_runs(runs: Mapping[str, Run]) -> None:
    rows = [
        [
            label,
            run.run_id,
            str(run.history.steps),
            f"{run.history.train_accuracy:.3f}",
            f"{run.test_accuracy:.3f}",
            str(run.folder or "in memory only"),
        ]
        for label, run in runs.items()
    ]
    print_rows(["run", "id", "steps", "train acc.", "test acc.", "stored in"], rows)


def _check_given(plan: Plan) -> None:
    """Warn of models that are trained already, which are left out. Refuse if all are."""
    given = [spec.label for m, spec in enumerate(plan.models) if (0, m) in plan.trained]
    if not plan.trains:
        raise UsageError(
            f"got models that are trained already ({', '.join(given)}), expected at least one to "
            "train, such as vgg11; compare needs no training of them"
        )
    for label in given:
        warn(f"'{label}' is trained already and left out")
