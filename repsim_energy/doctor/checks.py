"""Run checks: compare a kernel with a known answer."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import RepsimWarning, reason_of
from repsim_energy.numerics.threads import one_thread

__all__ = [
    "Check",
    "Deviations",
    "Finding",
    "max_difference",
    "run_check",
    "on_device",
    "relative_difference",
]

Deviations = Iterable[tuple[str, float]]
"""Pairs of a test case and its deviation from the known answer."""


@dataclass(frozen=True)
class Check:
    """Comparison of a kernel with a known answer.

    Parameters
    ----------
    name : the quantity computed
    expected : description of the known answer
    allowed : largest deviation explained by rounding
    measure : runs the kernel on each test case
    all_threads : use all threads, for inputs large enough; a single thread otherwise, because
        synchronizing threads takes long on a busy machine
    """

    name: str
    expected: str
    allowed: float
    measure: Callable[[], Deviations]
    all_threads: bool = False


@dataclass(frozen=True)
class Finding:
    """Result of a check on one device.

    Parameters
    ----------
    name, expected, allowed : as in :class:`Check`
    device : such as ``cpu`` or ``cuda:0``
    threads : number of CPU threads
    deviation : largest deviation; ``None`` after an exception
    seconds : duration
    problem : description of the failure in one line; ``None`` if the check passed
    warnings : warnings of this package during the check
    """

    name: str
    device: str
    threads: int
    expected: str
    deviation: float | None
    allowed: float
    seconds: float
    problem: str | None
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """True if no deviation exceeds the allowed one."""
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which has no NaN and no infinity."""
        deviation = self.deviation if math.isfinite(self.deviation or 0.0) else None
        return {**asdict(self), "deviation": deviation, "passed": self.passed}


def run_check(check: Check, device: str) -> Finding:
    """Run a check. An exception counts as a failure."""
    deviation, problem, started = None, None, time.perf_counter()
    threads = contextlib.nullcontext() if check.all_threads else one_thread()
    with threads, warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        number = torch.get_num_threads()
        try:
            case, deviation = max(check.measure(), key=lambda pair: _size(pair[1]))
            if not deviation <= check.allowed:
                problem = f"{case}: off by {deviation:.2g}, allowed {check.allowed:.2g}"
        except Exception as error:
            problem = reason_of(error)
    messages = (
        " ".join(str(w.message).split()) for w in raised if issubclass(w.category, RepsimWarning)
    )
    seconds = round(time.perf_counter() - started, 3)
    return Finding(
        check.name,
        device,
        number,
        check.expected,
        deviation,
        check.allowed,
        seconds,
        problem,
        tuple(dict.fromkeys(messages)),
    )


def _size(deviation: float) -> float:
    return math.inf if math.isnan(deviation) else deviation


def max_difference(actual: Any, expected: Any) -> float:
    """Return the largest absolute difference of two arrays; infinity if their shapes differ.

    Examples
    --------
    >>> max_difference([1.0, 2.0], [1.0, 2.5])
    0.5
    >>> max_difference([1.0], [1.0, 1.0]), max_difference([np.nan], [1.0])
    (inf, nan)
    """
    a, b = _array(actual), _array(expected)
    if a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max(initial=0.0))


def relative_difference(actual: Any, expected: Any) -> float:
    """Return the largest difference of two arrays, divided by the largest expected number."""
    return max_difference(actual, expected) / float(np.abs(_array(expected)).max())


def _array(values: Any) -> np.ndarray[Any, np.dtype[Any]]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)


def on_device(device: torch.device, array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """Copy an array to a device, keeping its memory layout."""
    return torch.from_numpy(array).to(device)
