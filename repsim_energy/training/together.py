"""Trainings that differ only in their seed, run as one batched network through the run cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from repsim_energy.errors import TrainingError
from repsim_energy.progress import working
from repsim_energy.training.begun import begin
from repsim_energy.training.ensemble import train_together
from repsim_energy.training.inputs import layouts_of
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.partial_run import PartialRun, interrupted_batch
from repsim_energy.training.run_cache import Run
from repsim_energy.training.run_files import locked
from repsim_energy.training.training import Training, removed_at_the_end

__all__ = ["run_together"]


@training_settings()
def run_together(trainings: Sequence[Training], device: torch.device) -> list[Run | TrainingError]:
    """Run trainings that differ only in their seed as one batched network, and store each run.

    Raises
    ------
    RuntimeError and other :data:`~repsim_energy.training.build.NETWORK_ERRORS`
        For architectures that cannot be batched, or do not fit into memory together.
    """
    with locked([training.key for training in trainings]):
        found: dict[int, Run | TrainingError | None] = {
            training.seed: training.stored() for training in trainings
        }
        while missing := [one for one in trainings if found[one.seed] is None]:
            found |= _train_together(_batch_of(missing), device)
    outcomes = (found[training.seed] for training in trainings)
    return [outcome for outcome in outcomes if outcome is not None]


def _batch_of(missing: Sequence[Training]) -> Sequence[Training]:
    """Return the interrupted batch of the first training, else all that are missing.

    Networks that draw random numbers depend on the seeds beside theirs. A batch therefore goes on
    whole, although some of its runs may be stored.
    """
    seeds = interrupted_batch(missing[0].key)
    return [replace(missing[0], seed=seed) for seed in seeds] or missing


def _train_together(
    trainings: Sequence[Training], device: torch.device
) -> dict[int, Run | TrainingError]:
    """Return seed -> run or error, for trainings that are not in the cache."""
    new = [begin(training) for training in trainings]
    first = trainings[0]
    seeds = [training.seed for training in trainings]
    label = f"{first.model.label} seeds {', '.join(map(str, seeds))}"
    key = hashlib.sha256("".join(training.key for training in trainings).encode()).hexdigest()
    keys = [training.key for training in trainings]
    facts = {**first.facts, "label": label, "seed": seeds, "keys": keys}
    partial_run = PartialRun(key, facts, device)
    steps = first.recipe.total_steps(len(first.data.train))
    outcomes: dict[int, Run | TrainingError] = {}
    with (
        locked([key]),
        removed_at_the_end(partial_run, trainings),
        working(label, steps, "steps") as advance,
    ):
        histories = train_together(
            [one.module for one in new],
            new[0].layer,
            first.data.train,
            first.data.test,
            new[0].normalization,
            first.recipe,
            seeds,
            device,
            [one.norm for one in new],
            partial(advance, 1),
            partial_run,
        )
        for training, one, history in zip(trainings, new, histories, strict=True):
            if isinstance(history, TrainingError):
                outcomes[training.seed] = history
                continue
            run = one.ended(history, device, layouts_of(one.module)[0])
            training.keep(run, partial_run.seconds / len(trainings))
            outcomes[training.seed] = training.stored() or run
    return outcomes
