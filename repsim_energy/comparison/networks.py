"""Networks of a plan, given or trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from repsim_energy.comparison.network import Network, network_of_run, network_of_trained
from repsim_energy.comparison.options import say_what_recipes_have_no_use_for
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.errors import TrainingError
from repsim_energy.progress import Reporter, working
from repsim_energy.scheduling.estimate import estimate
from repsim_energy.scheduling.local import Local
from repsim_energy.scheduling.schedulers import Scheduler
from repsim_energy.scheduling.tally import Outcomes
from repsim_energy.training.failures import (
    NOT_AGAIN,
    forget_failure,
    record_failure,
    recorded_failure,
)
from repsim_energy.training.partial_run import remove_finished_batches
from repsim_energy.training.training import Training

__all__ = ["train_networks"]

HERE, SILENT = Local(1), Reporter()


def train_networks(
    plan: Plan,
    scheduler: Scheduler = HERE,
    reporter: Reporter = SILENT,
    *,
    retry_failed: bool = True,
) -> tuple[dict[Key, Network], list[str]]:
    """Return the networks of a plan, and a line for each whose training failed.

    Parameters
    ----------
    retry_failed : whether trainings that failed earlier are run again; otherwise they have failed

    Raises
    ------
    TrainingError
        If no network could be trained.
    """
    say_what_recipes_have_no_use_for(plan)
    remove_finished_batches()
    networks = {
        Key(d, m, 0): network_of_trained(trained, plan.datasets[d], plan.folds.get((d, m)))
        for (d, m), trained in plan.trained.items()
    }
    if reporter.hears_announcements and (line := _cached_part(plan)):
        reporter.announce(line)
    trainings = plan.trainings
    failures: dict[Key, str] = {} if retry_failed else _failed_earlier(plan, trainings)
    trainings = {key: one for key, one in trainings.items() if key not in failures}
    missing = {key: training for key, training in trainings.items() if not training.is_cached}
    if reporter.hears_announcements and (
        line := estimate(list(missing.values()), plan.device, scheduler, plan.untrained)
    ):
        reporter.announce(line)
    for key, run in _counted(scheduler.runs(trainings, plan.device, reporter), missing):
        place = key[:2]
        try:
            if isinstance(run, TrainingError):
                record_failure(trainings[key], run)
                raise run
            forget_failure(trainings[key])
            networks[key] = network_of_run(run, plan.patches[place][3:], place in plan.folds)
        except TrainingError as error:
            failures[key] = f"{plan.label(key)}: {error}"
    said = [failures[key] for key in plan.keys if key in failures]
    if not networks:
        raise TrainingError(said[0])
    return {key: networks[key] for key in plan.keys if key in networks}, said


def _failed_earlier(plan: Plan, trainings: Mapping[Key, Training]) -> dict[Key, str]:
    """Return a line for each training that failed in an earlier comparison."""
    errors = {key: recorded_failure(training) for key, training in trainings.items()}
    return {
        key: f"{plan.label(key)}: {error}; {NOT_AGAIN}"
        for key, error in errors.items()
        if error is not None
    }


def _counted(runs: Outcomes[Key], missing: Collection[Key]) -> Outcomes[Key]:
    """Yield runs, and report how many of the missing ones there are."""
    if not missing:
        yield from runs
        return
    with working("training networks", len(missing), "networks") as advance:
        for key, run in runs:
            yield key, run
            advance(key in missing)


def _cached_part(plan: Plan) -> str | None:
    """Return one line on the runs that a resumed comparison finds in the cache."""
    trainings = plan.trainings.values()
    cached = sum(training.is_cached for training in trainings)
    partial = sum(training.is_partial and not training.is_cached for training in trainings)
    missing = len(trainings) - cached
    if not missing or not (cached or partial):
        return None
    line = f"{cached} of {len(trainings)} runs are read from the cache, {missing} to train"
    goes = "goes" if partial == 1 else "go"
    return f"{line}, of which {partial} {goes} on after an interruption" if partial else line
