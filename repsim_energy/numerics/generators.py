"""The global random generators, which all threads share."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["seeded"]

_generators = threading.RLock()
"""Held by whoever has seeded the global generators, so that nobody of ours draws between."""


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators for one thread at a time, and put back what was there.

    Networks draw initial weights and dropout from torch's generators, which all threads share;
    a few draw from those of NumPy and Python. A GPU's generators are seeded where they are in use.

    Parameters
    ----------
    device : on which is drawn
    """
    with _generators:
        if device is not None and device.type == "cuda":
            torch.cuda.init()
        gpus = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        others = np.random.get_state(), random.getstate()  # noqa: NPY002 (what builders draw from)
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
