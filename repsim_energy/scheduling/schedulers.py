"""Protocol of schedulers, and the scheduler of a name."""

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
    """Executor of trainings and sums. It is entered once for a whole comparison.

    Parameters
    ----------
    unit : plural name of its workers, such as ``processes``
    is_local : whether it uses this machine
    """

    unit: ClassVar[str]
    is_local: ClassVar[bool]

    def __enter__(self) -> Self:
        """Acquire resources, such as a connection."""
        ...

    def __exit__(self, *_: object) -> None:
        """Release them."""
        ...

    def at_once(self, tasks: int) -> int:
        """Return the number of concurrent tasks, of so many."""
        ...

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the run of each training, or its error, once it has ended."""
        ...

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        ...


def scheduler_of(text: str | Scheduler | None = None, jobs: int | None = None) -> Scheduler:
    """Return the scheduler of a name, or a scheduler that is given.

    Parameters
    ----------
    text : ``local`` (this machine), ``local:N``, or the ``tcp://HOST:PORT`` of a Dask scheduler
    jobs : number of processes of this machine. By default one per usable core for ``local``, and
        this process alone without ``text``

    Raises
    ------
    UsageError
        For anything else, and for two different numbers of processes.

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
