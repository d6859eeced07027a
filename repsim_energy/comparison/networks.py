"""The networks of a plan: trained where they are missing, by whoever the scheduler says."""

from __future__ import annotations

from collections.abc import Callable

from repsim_energy.comparison.options import say_what_recipes_have_no_use_for
from repsim_energy.comparison.plan import Key, Plan, Step
from repsim_energy.comparison.subjects import Network, network_of_run, network_of_trained
from repsim_energy.errors import TrainingError
from repsim_energy.scheduling.processes import Local
from repsim_energy.scheduling.projection import projection
from repsim_energy.scheduling.schedulers import Scheduler
from repsim_energy.scheduling.tasks import Task
from repsim_energy.training.runs import is_cached, make_run

__all__ = ["Announce", "Report", "missing_runs", "train_networks"]

Report = Callable[[Step], None]
Announce = Callable[[str], None]

HERE = Local(1)


def train_networks(
    plan: Plan,
    progress: Report | None = None,
    scheduler: Scheduler = HERE,
    announce: Announce | None = None,
) -> tuple[dict[Key, Network], list[str]]:
    """Return the networks of a plan and what went wrong with those that are missing.

    Raises
    ------
    TrainingError
        Where no network could be trained at all.
    """
    networks: dict[Key, Network] = {}
    failures: list[str] = []
    say_what_recipes_have_no_use_for(plan)
    missing = missing_runs(plan)
    if announce is not None:
        line = projection(list(missing.values()), plan.device, scheduler)
        if line is not None:
            announce(line)
    ahead = _made_ahead(plan, missing, progress, scheduler)
    for number, key in enumerate(plan.keys, 1):
        d, m, s = key
        data, spec, seed = plan.datasets[d], plan.models[m], plan.seeds[s]
        if (d, m) in plan.trained:
            networks[key] = network_of_trained(plan.trained[d, m], data, plan.folds.get((d, m)))
            continue

        def report(step: int, steps: int, key: Key = key, number: int = number) -> None:
            if progress is not None and key not in ahead:
                progress(Step(plan.label(key), number, len(plan.keys), step, steps))

        try:
            if error := ahead.get(key):
                raise error
            run = make_run(spec, data, seed, plan.recipe, plan.device, _until_last(report))
            network = network_of_run(
                run, spec, data, seed, plan.patches[d, m][3:], (d, m) in plan.folds
            )
        except TrainingError as error:
            failures.append(f"{plan.label(key)}: {error}")
            continue
        report(run.steps, run.steps)
        networks[key] = network
    if not networks:
        raise TrainingError(failures[0])
    return networks, failures


def missing_runs(plan: Plan) -> dict[Key, Task]:
    """Return the runs that have to be trained, because the cache does not hold them."""
    tasks = {
        (d, m, s): (plan.models[m], plan.datasets[d], plan.seeds[s], plan.recipe)
        for d, m, s in plan.keys
        if (d, m) not in plan.trained
    }
    return {key: task for key, task in tasks.items() if not is_cached(*task)}


def _made_ahead(
    plan: Plan, tasks: dict[Key, Task], progress: Report | None, scheduler: Scheduler
) -> dict[Key, TrainingError | None]:
    """Return the runs that others made, and what went wrong with them."""
    outcomes: dict[Key, TrainingError | None] = {}
    for key, outcomes[key] in scheduler.make_runs(tasks, plan.device):
        if progress is not None and outcomes[key] is None:
            progress(Step(plan.label(key), len(outcomes), len(plan.keys), 1, 1))
    return outcomes


def _until_last(report: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """Return the report without the last step, which is reported once the run is kept."""

    def under_way(step: int, steps: int) -> None:
        if step < steps:
            report(step, steps)

    return under_way
