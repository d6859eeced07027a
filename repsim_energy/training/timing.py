"""Duration of a training step, measured on a few steps."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import torch
from torch import nn

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Dataset, Normalization
from repsim_energy.numerics.generators import seeded
from repsim_energy.numerics.threads import one_thread
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.inputs import as_input, layouts_of, normalization_of
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.loop import optimizer_of, take_step
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.training import Training

__all__ = ["MAX_STEPS", "step_seconds"]

MAX_STEPS = 3
"""Maximum number of timed steps, after a first one for warming up."""

MAX_SLOWDOWN = 2
"""Largest factor by which concurrent trainings are assumed to slow a step down."""


@training_settings()
def step_seconds(
    training: Training, module: nn.Module, device: torch.device, beside: int, at_most: float
) -> float:
    """Return the seconds of a training step, measured on copies of a network.

    They are 0 for a network that cannot be trained.

    Parameters
    ----------
    module : the network before training; it stays as it is
    beside : number of concurrent trainings, which slow each other down, with one thread each; 0
        for one training with all threads
    at_most : seconds that the measurement may take. One step is always taken, and is the result if
        there is no time for more
    """
    data, recipe = training.data, training.recipe
    normalization = normalization_of(data.train)
    for layout in layouts_of(module):
        copies = [copy.deepcopy(module) for _ in range(max(1, beside))]
        with (
            suppress(UsageError, *NETWORK_ERRORS),
            seeded(0, device),
            one_thread() if beside else nullcontext(),
        ):
            first, *others = (
                _step_of(copied, data, normalization, recipe, device, layout) for copied in copies
            )
            warm = _seconds(first, 1)
            steps = min(MAX_STEPS, round((at_most / warm - 1) / MAX_SLOWDOWN))
            with _going_on(others if steps > 0 else []):
                return _seconds(first, steps) if steps > 0 else warm
    return 0.0


def _step_of(
    module: nn.Module,
    data: Dataset,
    normalization: Normalization,
    recipe: Recipe,
    device: torch.device,
    layout: torch.memory_format,
) -> Callable[[], None]:
    module.to(device, memory_format=layout).train()  # type: ignore[call-overload]
    optimizer = optimizer_of(module, recipe)
    pixels = data.train.images[: recipe.batch].to(device)
    labels = data.train.labels[: recipe.batch].to(device)

    def step() -> None:
        inputs = as_input(pixels, normalization, module, layout)
        loss, _ = take_step(module, optimizer, inputs, labels, recipe, recipe.lr)
        float(loss)  # waits for a GPU

    return step


def _seconds(step: Callable[[], None], count: int) -> float:
    """Return the mean duration of so many steps."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count


@contextmanager
def _going_on(steps: list[Callable[[], None]]) -> Iterator[None]:
    """Repeat steps in other threads during the context."""
    ended = threading.Event()

    def go_on(step: Callable[[], None]) -> None:
        with one_thread():
            while not ended.is_set():
                step()

    threads = [threading.Thread(target=go_on, args=(step,), daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
