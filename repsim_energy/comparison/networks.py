"""Networks of a plan, given or trained."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

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
from repsim_energy.training.run_cache import Run
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Distinct", "Outcome", "train_networks", "train_plans"]

Name = TypeVar("Name", bound=Hashable)

HERE, SILENT = Local(1), Reporter()


class Outcome(NamedTuple):
    """The networks of a plan, and a line for each whose training failed."""

    networks: dict[Key, Network]
    failures: list[str]


def train_networks(
    plan: Plan,
    scheduler: Scheduler = HERE,
    reporter: Reporter = SILENT,
    *,
    retry_failed: bool = True,
) -> Outcome:
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
    (outcome,) = train_plans([plan], scheduler, reporter, retry_failed=retry_failed)
    if not outcome.networks:
        raise TrainingError(outcome.failures[0])
    return outcome


def train_plans(
    plans: Sequence[Plan],
    scheduler: Scheduler,
    reporter: Reporter,
    *,
    retry_failed: bool = True,
) -> list[Outcome]:
    """Return the networks of each plan, which are scheduled together.

    A training that several plans need is run once.

    Parameters
    ----------
    plans : on one device
    """
    remove_finished_batches()
    distinct = Distinct(plans)
    trainings = distinct.trainings
    if reporter.hears_announcements and (line := _cached_part(trainings)):
        reporter.announce(line)
    errors: dict[int, str] = {} if retry_failed else _failed_earlier(trainings)
    trainings = {name: one for name, one in trainings.items() if name not in errors}
    missing = {name: one for name, one in trainings.items() if not one.is_cached}
    device = plans[0].device
    if reporter.hears_announcements and (
        line := estimate(list(missing.values()), device, scheduler, distinct.untrained)
    ):
        reporter.announce(line)
    runs: dict[int, Run] = {}
    for name, run in _counted(scheduler.runs(trainings, device, reporter), missing):
        if isinstance(run, TrainingError):
            record_failure(trainings[name], run)
            errors[name] = str(run)
        else:
            forget_failure(trainings[name])
            runs[name] = run
    return [
        _outcome(plan, names, runs, errors)
        for plan, names in zip(plans, distinct.names, strict=True)
    ]


def _outcome(
    plan: Plan, names: Mapping[Key, int], runs: Mapping[int, Run], errors: Mapping[int, str]
) -> Outcome:
    """Return the networks of a plan from the runs of its trainings.

    Parameters
    ----------
    names : network -> its training in ``runs`` or ``errors``
    """
    networks: dict[Key, Network] = {}
    failures: list[str] = []
    for key in plan.keys:
        place = key[:2]
        try:
            if key not in names:
                data, folding = plan.datasets[key.dataset], plan.folds.get(place)
                networks[key] = network_of_trained(plan.trained[place], data, folding)
            elif names[key] in errors:
                raise TrainingError(errors[names[key]])
            else:
                run = runs[names[key]]
                networks[key] = network_of_run(run, plan.patches[place][3:], place in plan.folds)
        except TrainingError as error:
            failures.append(f"{plan.label(key)}: {error}")
    return Outcome(networks, failures)


class Distinct:
    """The trainings of several plans, each once.

    Parameters
    ----------
    plans : that need them

    Attributes
    ----------
    trainings : number -> training
    names : for each plan, network -> number of its training
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.trainings: dict[int, Training] = {}
        self.names: list[dict[Key, int]] = []
        self._plans: dict[int, Plan] = {}
        known: dict[Hashable, int] = {}
        for plan in plans:
            names = {}
            for key, one in plan.trainings.items():
                same = one.key or (one.model, one.data, one.seed, one.recipe)
                name = names[key] = known.setdefault(same, len(known))
                self.trainings.setdefault(name, one)
                self._plans.setdefault(name, plan)
            self.names.append(names)
        self._of = {id(training): name for name, training in self.trainings.items()}

    def untrained(self, training: Training) -> nn.Module:
        """Return a network before its training, of any seed."""
        return self._plans[self._of[id(training)]].untrained(training)


def _failed_earlier(trainings: Mapping[Name, Training]) -> dict[Name, str]:
    """Return the reason of each training that failed in an earlier comparison."""
    errors = {name: recorded_failure(training) for name, training in trainings.items()}
    return {name: f"{error}; {NOT_AGAIN}" for name, error in errors.items() if error is not None}


def _counted(runs: Outcomes[Name], missing: Collection[Name]) -> Outcomes[Name]:
    """Yield runs, and report how many of the missing ones there are."""
    if not missing:
        yield from runs
        return
    with working("training networks", len(missing), "networks") as advance:
        for key, run in runs:
            yield key, run
            advance(key in missing)


def _cached_part(named: Mapping[Name, Training]) -> str | None:
    """Return one line on the runs that a resumed comparison finds in the cache."""
    trainings = named.values()
    cached = sum(training.is_cached for training in trainings)
    partial = sum(training.is_partial and not training.is_cached for training in trainings)
    missing = len(trainings) - cached
    if not missing or not (cached or partial):
        return None
    line = f"{cached} of {len(trainings)} runs are read from the cache, {missing} to train"
    goes = "goes" if partial == 1 else "go"
    return f"{line}, of which {partial} {goes} on after an interruption" if partial else line
