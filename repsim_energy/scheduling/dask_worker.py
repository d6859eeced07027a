"""Functions that workers of a cluster call. They need no file of the driver."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Dataset
from repsim_energy.numerics.threads import one_thread
from repsim_energy.training.device import choose_device
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_files import files_of
from repsim_energy.training.training import Training
from repsim_energy.versions import version_of

__all__ = ["call", "refusal", "run_on_worker"]

_turn = threading.Lock()
"""Lock for tasks of a process: initial weights are drawn from the one random state of torch."""


def run_on_worker(
    model: bytes, data: Dataset, seed: int, recipe: Recipe, device: str, versions: Mapping[str, str]
) -> Mapping[str, bytes]:
    """Run a training through the worker's own cache and return the files of its run."""
    if reason := refusal(versions, [model]):
        raise UsageError(f"a worker {reason}; install there what is installed here")
    with _turn, one_thread():
        training = Training(pickle.loads(model), data, seed, recipe)  # noqa: S301
        training.run(choose_device(device))
        return files_of(training.key)


def call(content: bytes) -> Any:
    """Return ``function(item)`` of a pickled pair."""
    with _turn, one_thread():
        function, item = pickle.loads(content)  # noqa: S301 (from our own driver)
        return function(item)


def refusal(versions: Mapping[str, str], specs: Sequence[bytes] = ()) -> str | None:
    """Return the reason why this process cannot run the tasks of a driver, ``None`` if it can."""
    for name, expected in versions.items():
        if (found := version_of(name)) != expected:
            return f"has {name} {found}, expected {expected}"
    for content in specs:
        try:
            pickle.loads(content)  # noqa: S301
        except Exception as error:
            return f"cannot load a model ({type(error).__name__}: {error})"
    return None
