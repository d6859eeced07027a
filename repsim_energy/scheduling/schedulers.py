"""Where work is done: in processes of this machine, or on a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Protocol, Self, TypeVar

import torch

from repsim_energy.errors import UsageError
from repsim_energy.progress import Reporter
from repsim_energy.scheduling.local import Local
from repsim_energy.scheduling.tally import Outcomes
from repsim_energy.training.training import Training

__all__ = ["Scheduler", "scheduler_of"]

Name = TypeVar("Name")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Scheduler(Protocol):
    """Something that has work done. It is entered once for all the work of a comparison.

    Parameters
    ----------
    unit : what does it, in words
    is_local : whether it works on this machine
    """

    unit: ClassVar[str]
    is_local: ClassVar[bool]

    def __enter__(self) -> Self:
        """Get ready."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of what was needed."""
        ...

    def at_once(self, tasks: int) -> int:
        """Return how many of so many tasks are worked on at once."""
        ...

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the run of each training, or what went wrong, when it is there."""
        ...

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        ...


def scheduler_of(text: str | Scheduler | None = None, jobs: int | None = None) -> Scheduler:
    """Return the scheduler that is asked for.

    Parameters
    ----------
    text : ``local`` (this machine), ``local:N``, or the ``tcp://HOST:PORT`` of a Dask scheduler
    jobs : processes of this machine; ``None`` takes all usable cores where ``local`` is asked
        for, and works in this process alone where nothing is

    Raises
    ------
    UsageError
        For what is none of these, and for two different numbers.

    Examples
    --------
    >>> scheduler_of("local:4"), scheduler_of("local", jobs=2), scheduler_of()
    (Local(jobs=4), Local(jobs=2), Local(jobs=1))
    """
    if jobs is not None and not (isinstance(jobs, int) and jobs >= 1):
        raise UsageError(f"got jobs={jobs!r}, expected a whole number, at least 1")
    if not isinstance(text, str | None):
        if not hasattr(text, "runs"):
            raise UsageError(
                f"got a scheduler of type {type(text).__name__}, expected local, local:N or "
                "tcp://HOST:PORT of a Dask cluster"
            )
        return text
    if text is None:
        return Local(jobs or 1)
    if match := re.fullmatch(r"local(?::([1-9]\d*))?", text):
        number = int(match[1]) if match[1] else jobs
        if jobs not in (None, number):
            raise UsageError(f"got scheduler '{text}' and jobs={jobs}, expected one number")
        return Local(number)
    if not re.fullmatch(r"(tcp|tls)://\S+:\d+", text):
        raise UsageError(
            f"got scheduler '{text}', expected local, local:N or tcp://HOST:PORT of a Dask cluster"
        )
    if jobs is not None:
        raise UsageError(
            f"got jobs={jobs} with scheduler '{text}', whose workers decide how many runs are "
            "trained at once; leave jobs out"
        )
    from repsim_energy.scheduling.dask_cluster import Cluster

    return Cluster(text)
