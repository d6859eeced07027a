"""Schedulers: trainings in this process, in local processes or on a cluster."""

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
    """Scheduler of trainings and other tasks.

    It is a context manager, entered once for all the tasks of a comparison. Every training gets a
    run or an error.

    Attributes
    ----------
    unit : what works on a task, in words, such as ``process``
    is_local : True if all tasks run on this machine

    Examples
    --------
    >>> with scheduler_of("local:1") as scheduler:
    ...     list(scheduler.in_order(abs, [-2, -1]))
    [2, 1]
    """

    unit: ClassVar[str]
    is_local: ClassVar[bool]

    def __enter__(self) -> Self:
        """Start workers, or connect to them."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop workers, or disconnect from them."""
        ...

    def at_once(self, tasks: int) -> int:
        """Return the number of tasks that run in parallel.

        Parameters
        ----------
        tasks : the number of tasks in all
        """
        ...

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the name and the run of each training, or its error, as soon as it ends.

        Parameters
        ----------
        trainings : name -> training
        device : to train on
        reporter : receives the progress
        """
        ...

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` for each item, in the order of the items.

        Parameters
        ----------
        function : must be picklable unless everything runs in this process
        items : its arguments
        """
        ...


def scheduler_of(text: str | Scheduler | None = None, jobs: int | None = None) -> Scheduler:
    """Return the scheduler of a text such as ``local:4``.

    Parameters
    ----------
    text : ``local`` (this machine), ``local:N``, or the ``tcp://HOST:PORT`` of a Dask scheduler
    jobs : the number of processes on this machine. ``None`` uses all cores for ``local``, and this
        process alone without ``text``

    Raises
    ------
    UsageError
        For any other text, and for two different numbers of processes.

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
