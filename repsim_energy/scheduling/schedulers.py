"""Where work is done: in processes of this machine, or on a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Protocol, TypeVar

import torch

from repsim_energy.errors import UsageError
from repsim_energy.scheduling.processes import Local
from repsim_energy.scheduling.tasks import Outcomes, Tasks

__all__ = ["Scheduler", "scheduler_of"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Scheduler(Protocol):
    """Something that has work done.

    Parameters
    ----------
    unit : what does it, in words
    """

    unit: ClassVar[str]

    def at_once(self, tasks: int) -> int:
        """Return how many of so many tasks are worked on at once."""
        ...

    def make_runs(self, tasks: Tasks, device: torch.device) -> Outcomes:
        """Make runs; yield each when it is kept, or why it is not.

        Those that others cannot be told to make are left out, for the caller to make.
        """
        ...

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        ...


def scheduler_of(text: str | Scheduler | None = None, jobs: int | None = None) -> Scheduler:
    """Return the scheduler that is asked for; a cluster is called, so that it is known to answer.

    Parameters
    ----------
    text : ``local`` (this machine), ``local:N``, or the ``tcp://HOST:PORT`` of a Dask scheduler
    jobs : processes of this machine; ``None`` takes all usable cores where ``local`` is asked
        for, and works in this process alone where nothing is

    Raises
    ------
    UsageError
        For what is none of these, for two different numbers, or where no scheduler answers.

    Examples
    --------
    >>> scheduler_of("local:4"), scheduler_of("local", jobs=2), scheduler_of()
    (Local(jobs=4), Local(jobs=2), Local(jobs=1))
    """
    if jobs is not None and not (isinstance(jobs, int) and jobs >= 1):
        raise UsageError(f"got jobs={jobs!r}, expected a whole number, at least 1")
    if not isinstance(text, str | None):
        if not hasattr(text, "make_runs"):
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
    from repsim_energy.scheduling.cluster import Cluster

    cluster = Cluster(text)
    cluster.check()
    return cluster
