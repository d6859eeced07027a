"""Scheduler that runs trainings and sums in processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import torch

from repsim_energy.errors import RepsimError, TrainingError
from repsim_energy.files.storage import temporary_folder
from repsim_energy.progress import Reporter
from repsim_energy.scheduling.batched import run_batched
from repsim_energy.scheduling.processes import CPU, run_sent, training_pool
from repsim_energy.scheduling.serial import collect, run_here
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.run_cache import Run
from repsim_energy.training.run_files import keep_received
from repsim_energy.training.training import Training
from repsim_energy.workers import in_order, result_of, submit, usable_cores

__all__ = ["Local"]

Name = TypeVar("Name")


@dataclass(frozen=True)
class Local:
    """Processes of this machine, one thread each.

    On small networks several processes of one thread are faster than one process of several
    threads, and results do not depend on the number of processes.

    Parameters
    ----------
    jobs : maximum number of processes; ``None`` for one per usable core
    """

    jobs: int | None = None
    unit: ClassVar[str] = "processes"
    is_local: ClassVar[bool] = True

    def at_once(self, tasks: int) -> int:
        """Return the number of processes for so many tasks, where 1 means this process."""
        return min(self.jobs or usable_cores(), tasks) if tasks > 1 else 1

    def __enter__(self) -> Self:
        """Do nothing: each call starts processes of its own."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the run of each training, or its error, once it has ended.

        On a GPU, seeds of one model are trained as one batched network, at most ``jobs`` together.
        Trainings that no other process can run (code without a name), and a single missing one,
        are run in this process.
        """
        tally, here = Tally(reporter, len(trainings)), dict(trainings)
        missing = {name: one for name, one in trainings.items() if not one.is_cached}
        if device.type != "cpu":
            elsewhere = run_batched(missing, device, tally, self.jobs)
        else:
            elsewhere = self._in_processes(missing, tally)
        for name, outcome in elsewhere:
            del here[name]
            yield name, outcome
        yield from run_here(here, device, tally)

    def _in_processes(self, trainings: Mapping[Name, Training], tally: Tally) -> Outcomes[Name]:
        """Yield the outcomes of the trainings that processes can run, if there are several.

        If a process ends unexpectedly, the trainings that were under way run again one at a time,
        which shows whose process ends; then the others go on.
        """
        waiting = {name: one for name, one in trainings.items() if one.is_portable}
        processes = self.at_once(len(waiting))
        while waiting and processes > 1:
            for name in (yield from _in_pool(waiting, processes, tally)):
                alone = {name: waiting.pop(name)}
                if (yield from _in_pool(alone, 1, tally)):
                    failure = TrainingError(
                        "a training process ended unexpectedly, perhaps because memory ran out; "
                        "use a smaller jobs=, finished runs are kept"
                    )
                    tally.end(alone[name], failure)
                    yield name, failure

    def in_order(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        processes = self.jobs or usable_cores()
        if processes < 2:
            yield from map(function, items)
            return
        with training_pool(processes) as pool:

            def submitted(item: Any) -> Callable[[], Any]:
                return partial(result_of, submit(pool, function, item))

            try:
                yield from in_order(submitted, items, 2 * processes)
            except BrokenProcessPool as error:
                raise RepsimError(
                    "a process ended unexpectedly, perhaps because memory ran out; use fewer "
                    "processes or smaller chunks"
                ) from error


def _in_pool(
    waiting: dict[Name, Training], processes: int, tally: Tally
) -> Generator[tuple[Name, Run | TrainingError], None, list[Name]]:
    """Yield the outcomes of trainings in worker processes, and remove them from ``waiting``.

    Returns
    -------
    list
        Names of the trainings that were under way when a worker ended unexpectedly, if one did
    """
    names = list(waiting)
    with temporary_folder() as folder, training_pool(processes, waiting) as pool:
        marks = {name: folder / str(number) for number, name in enumerate(names)}
        try:
            futures = {submit(pool, run_sent, name, marks[name]): name for name in names}
            for future in as_completed(futures):
                name, error = futures[future], future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise error
                training = waiting.pop(name)
                if isinstance(error, TrainingError):
                    tally.end(training, error)
                    yield name, error
                elif error is not None:
                    raise error
                else:
                    if (unkept := result_of(future)) is not None:
                        keep_received(training.key, unkept)
                    yield name, collect(training, CPU, tally)
        except BrokenProcessPool:
            return [name for name in waiting if marks[name].exists()] or list(waiting)
    return []
