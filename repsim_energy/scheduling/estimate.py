"""Estimated duration of a sweep of trainings."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import nn

from repsim_energy.scheduling.schedulers import Scheduler
from repsim_energy.training.timing import MAX_STEPS, step_seconds
from repsim_energy.training.training import Training
from repsim_energy.workers import usable_cores

__all__ = ["estimate", "makespan"]

MIN_ANNOUNCED_SECONDS = 60.0
"""Shorter sweeps are not announced."""

MAX_MEASURING_SECONDS = 8.0
"""Time for measuring. Networks that are not measured count as the mean of the others."""

MIN_STEPS_PER_MODEL = 40
"""Minimum number of steps per model for an estimate. Below it, measuring costs too much."""

MAX_CONCURRENT = 16
"""Maximum number of concurrent trainings in a measurement."""


def estimate(
    trainings: Sequence[Training],
    device: torch.device,
    scheduler: Scheduler,
    untrained: Callable[[Training], nn.Module],
) -> str | None:
    """Return a line with the estimated duration of trainings, ``None`` for a short sweep.

    Parameters
    ----------
    untrained : returns a network before its training, of any seed
    """
    models = {training.model for training in trainings}
    if sum(map(_steps, trainings)) < max(1, MIN_STEPS_PER_MODEL * len(models)):
        return None
    one_device = scheduler.is_local and device.type != "cpu"
    at_once = 1 if one_device else scheduler.at_once(len(trainings))
    alone = scheduler.is_local and at_once == 1
    beside = 0 if alone else min(at_once, usable_cores(), MAX_CONCURRENT)
    seconds = makespan(_run_seconds(trainings, device, beside, untrained), at_once)
    if seconds < MIN_ANNOUNCED_SECONDS:
        return None
    where = "in this process" if alone else f"on {_count(at_once, scheduler.unit)}"
    at_most = "at most " if any(one.recipe.until_accuracy for one in trainings) else ""
    return (
        f"{_count(len(trainings), 'runs')} to train, {at_most}about {_in_words(seconds)} {where} "
        f"(measured on up to {MAX_STEPS} steps each)"
    )


def _run_seconds(
    trainings: Sequence[Training],
    device: torch.device,
    beside: int,
    untrained: Callable[[Training], nn.Module],
) -> Iterator[float]:
    """Yield the seconds of each training. A model is measured once for each size of images."""
    kinds = [(one.model, one.data.train.images.shape[1:]) for one in trainings]
    distinct = dict(zip(reversed(kinds), reversed(trainings), strict=True))  # the first of each
    taken: dict[object, float] = {}
    started = time.monotonic()
    for kind, training in distinct.items():
        if not taken or time.monotonic() - started < MAX_MEASURING_SECONDS:
            module, at_most = untrained(training), MAX_MEASURING_SECONDS / len(distinct)
            taken[kind] = step_seconds(training, module, device, beside, at_most)
    mean = sum(taken.values()) / max(1, len(taken))
    for kind, training in zip(kinds, trainings, strict=True):
        yield taken.get(kind, mean) * _steps(training)


def _steps(training: Training) -> float:
    """Return the length of a training in steps, where evaluating an image costs a third of one."""
    images, tests, recipe = len(training.data.train), len(training.data.test), training.recipe
    tested = min(tests, recipe.test_images or tests)
    evaluated = (recipe.evaluations + 1) * tested / min(recipe.batch, images)
    return recipe.total_steps(images) + evaluated / 3


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """Return the time until all tasks have ended, if each free worker takes the next one.

    Examples
    --------
    >>> makespan([3, 1, 1, 1], 2), makespan([1, 1, 1, 3], 2), makespan([], 2)
    (3.0, 4.0, 0.0)
    """
    free = [0.0] * at_once
    for duration in seconds:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def _count(number: int, things: str) -> str:
    return f"{number} {things if number != 1 else things.removesuffix('s')}"


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min"
