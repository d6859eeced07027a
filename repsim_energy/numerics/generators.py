"""Seeding of the global random generators, which all threads share."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["generator_states", "restore_generators", "seeded"]

_generators = threading.RLock()
"""Lock for the global generators, so that only one thread of this package draws from them."""


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators for one thread at a time, then restore their states.

    Networks draw initial weights and dropout from the generators of torch, and a few from those of
    NumPy and Python. The generators of GPUs are seeded where CUDA is in use.

    Parameters
    ----------
    seed : of all generators
    device : that random numbers are drawn on
    """
    with _generators:
        if device is not None and device.type == "cuda":
            torch.cuda.init()
        gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        others = np.random.get_state(), random.getstate()  # noqa: NPY002 (some networks use it)
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(seed)
            if gpus:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            try:
                yield
            finally:
                np.random.set_state(others[0])  # noqa: NPY002
                random.setstate(others[1])


def generator_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the global generators, and of that of a GPU, for files of torch."""
    kind, words, *rest = np.random.get_state()  # noqa: NPY002 (some networks use it)
    states = {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(words).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    return states | ({"gpu": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Put the global generators into states of :func:`generator_states`."""
    kind, words, *rest = states["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["gpu"], device)
