"""A kernel, what is known about its answer, and what was found."""

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

__all__ = ["Check", "Deviations", "Finding", "away", "hold", "on", "relatively_away"]

Deviations = Iterable[tuple[str, float]]
"""What was tried, and how far its answer is from the known one."""


@dataclass(frozen=True)
class Check:
    """A kernel whose answer is known.

    Parameters
    ----------
    name : what is computed, in plain words
    expected : what the answer is compared with
    allowed : the largest deviation that rounding explains
    measure : runs the kernel on one input after another
    all_threads : whether inputs are large enough to be shared out among threads; others are
        computed in one, because waiting for several takes long on a busy machine
    """

    name: str
    expected: str
    allowed: float
    measure: Callable[[], Deviations]
    all_threads: bool = False


@dataclass(frozen=True)
class Finding:
    """What a check found on one device.

    Parameters
    ----------
    name, expected, allowed : of the check
    device : such as ``cpu`` or ``cuda:0``
    threads : in which the CPU's part was computed
    deviation : the largest one; ``None`` where there was no answer
    seconds : that it took
    problem : what is wrong, in one line; ``None`` where nothing is
    warnings : of this package, that were raised meanwhile
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
        """Whether the answer is right."""
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which has no NaN and no infinity."""
        deviation = self.deviation if math.isfinite(self.deviation or 0.0) else None
        return {**asdict(self), "deviation": deviation, "passed": self.passed}


def hold(check: Check, device: str) -> Finding:
    """Run a check; whatever a kernel raises is a finding too."""
    deviation, problem, started = None, None, time.perf_counter()
    threads = contextlib.nullcontext() if check.all_threads else one_thread()
    with threads, warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        number = torch.get_num_threads()
        try:
            case, deviation = max(check.measure(), key=lambda found: _size(found[1]))
            if not deviation <= check.allowed:
                problem = f"{case}: off by {deviation:.2g}, allowed {check.allowed:.2g}"
        except Exception as error:
            problem = reason_of(error)
    said = (
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
        tuple(dict.fromkeys(said)),
    )


def _size(deviation: float) -> float:
    return math.inf if math.isnan(deviation) else deviation


def away(found: Any, expected: Any) -> float:
    """Return the largest difference of two arrays of one shape; infinite for another shape.

    Examples
    --------
    >>> away([1.0, 2.0], [1.0, 2.5]), away([1.0], [1.0, 1.0]), away([np.nan], [1.0])
    (0.5, inf, nan)
    """
    a, b = _array(found), _array(expected)
    if a.shape != b.shape:
        return math.inf
    return float(np.abs(a - b).max(initial=0.0))


def relatively_away(found: Any, expected: Any) -> float:
    """Return the largest difference of two arrays over the largest number expected."""
    return away(found, expected) / float(np.abs(_array(expected)).max())


def _array(values: Any) -> np.ndarray[Any, np.dtype[Any]]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)


def on(device: torch.device, array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """Return an array on a device, in the order of memory that it has."""
    return torch.from_numpy(array).to(device)
