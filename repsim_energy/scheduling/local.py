"""Work in several processes of this machine, one thread each."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch

from repsim_energy.data.mapped import file_of, map_images
from repsim_energy.errors import RepsimError, TrainingError, UsageError
from repsim_energy.progress import Reporter
from repsim_energy.scheduling.batched import run_batched
from repsim_energy.scheduling.serial import collect, run_here
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.run_cache import UNKEPT, held_files, keep_received
from repsim_energy.training.training import Training

__all__ = ["Local", "in_order", "usable_cores"]

GUARD = (
    "a script that trains in several processes is saved in a file and works below "
    '`if __name__ == "__main__":`; without jobs= it needs neither'
)
"""What to do where processes cannot begin."""

Name = TypeVar("Name")

CPU = torch.device("cpu")

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much of its cores a container may use."""


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = (int(number) for number in QUOTA.read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # no such file, or no limit
        return cores
    return max(1, min(cores, quota // period))


@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    One thread a process, because on small networks several processes of one thread do more than
    one process of several, and because results then do not depend on how many there are.

    Parameters
    ----------
    jobs : how many processes at once; ``None`` takes one per usable core
    """

    jobs: int | None = None
    unit: ClassVar[str] = "processes"
    is_local: ClassVar[bool] = True

    def at_once(self, tasks: int) -> int:
        """Return how many of so many tasks are worked on at once; 1 is this process itself."""
        return max(1, min(self.jobs or usable_cores(), tasks))

    def __enter__(self) -> Self:
        """Do nothing: processes are started for the work at hand."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the run of each training, or what went wrong, when it is there.

        On a GPU, seeds of one model are trained as one batched network, ``jobs`` at once. In this
        process is run what no other can run (code without a name), and a single missing training.
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
        sent = {name: one for name, one in trainings.items() if one.is_portable}
        processes = self.at_once(len(sent))
        if processes < 2:
            return
        with _pool(processes, sent) as pool:
            futures = {pool.submit(_run, name): name for name in sent}
            for future in as_completed(futures):
                name, error = futures[future], future.exception()
                pool.check(error)
                failure = _failure(error)
                if failure is not None:
                    tally.end(sent[name], failure)
                    yield name, failure
                    continue
                if (unkept := future.result()) is not None:
                    keep_received(sent[name].key, unkept)
                yield name, collect(sent[name], CPU, tally)

    def in_order(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        processes = self.jobs or usable_cores()
        if processes < 2:
            yield from map(function, items)
            return
        with _pool(processes) as pool:

            def submit(item: Any) -> Callable[[], Any]:
                return pool.submit(function, item).result

            try:
                yield from in_order(submit, items, 2 * processes)
            except BrokenProcessPool as error:
                pool.check(error)
                raise RepsimError(
                    "a process was ended from outside, perhaps for want of memory; use fewer or "
                    "smaller pieces at once"
                ) from error


def in_order(
    submit: Callable[[Any], Callable[[], Any]], items: Iterable[Any], ahead: int
) -> Iterator[Any]:
    """Yield the results of items in their order, never more than ``ahead`` of them under way.

    ``submit`` has an item worked on and returns a function that waits for its result.
    """
    remaining = iter(items)
    under_way = deque(submit(item) for item in islice(remaining, ahead))
    while under_way:
        yield under_way.popleft()()
        under_way.extend(submit(item) for item in islice(remaining, 1))


@contextmanager
def _pool(processes: int, trainings: Mapping[Any, Training] | None = None) -> Iterator[_Pool]:
    """Give processes that know the trainings; they end with the work, and at once when it is left.

    Raises
    ------
    UsageError
        Where processes end before they begin, as those do that run a script without a guard again.
    """
    _check_main()
    others = set(active_children())
    context = get_context("spawn")
    begun = context.Event()
    with _told(trainings or {}) as told:
        try:
            with ProcessPoolExecutor(processes, context, _begin, (begun, told)) as pool:
                try:
                    yield _Pool(pool, begun)
                except BaseException:  # an interruption does not wait for the work under way
                    pool.shutdown(wait=False, cancel_futures=True)
                    for worker in set(active_children()) - others:
                        worker.terminate()
                    raise
        except RuntimeError as error:
            if "bootstrapping" in str(error):  # this is such a process
                raise SystemExit(1) from None  # the one that started it says so
            raise


@dataclass(frozen=True)
class _Pool:
    """Processes, and whether one of them has begun."""

    executor: ProcessPoolExecutor
    begun: Event

    def submit(self, function: Callable[..., Any], *given: Any) -> Future[Any]:
        with _interrupted_later():
            return self.executor.submit(function, *given)

    def check(self, error: BaseException | None) -> None:
        """Refuse to go on where processes end before they begin."""
        if isinstance(error, BrokenProcessPool) and not self.begun.is_set():
            raise UsageError(f"processes ended before they began; {GUARD}") from None


def _check_main() -> None:
    """Refuse processes that would run a main program again which is in no file."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and file is not None and not Path(file).exists():
        raise UsageError(f"processes cannot read the main program from '{file}'; {GUARD}")


class _Teller(pickle.Pickler):
    """Tells another process of this machine where mapped images are, instead of copying them."""

    def reducer_override(self, thing: Any) -> Any:
        path = file_of(thing) if isinstance(thing, torch.Tensor) else None
        return NotImplemented if path is None else (map_images, (path,))


@contextmanager
def _told(trainings: Mapping[Any, Training]) -> Iterator[Path]:
    """Give a file that holds the trainings.

    A process that never comes to read it holds up nobody, as one does that is written to.
    """
    with tempfile.TemporaryDirectory(prefix="repsim-") as folder:
        path = Path(folder, "trainings")
        try:
            with path.open("wb") as file:
                _Teller(file).dump(trainings)
        except OSError as error:
            raise RepsimError(
                f"trainings for other processes could not be written to '{folder}' "
                f"({error.strerror or error}); use jobs=1, or TMPDIR with more room"
            ) from error
        yield path


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Put an interruption off while processes are started; they put it off until they are ready.

    Else it ends them, or this process, between two halves of a start, with many words.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _failure(error: BaseException | None) -> TrainingError | None:
    if isinstance(error, BrokenProcessPool):
        return TrainingError(
            "a training process was ended from outside, perhaps for want of memory; "
            "use a smaller jobs=, finished runs are kept"
        )
    if error is None or isinstance(error, TrainingError):
        return error
    raise error


SECONDS = 1.0
"""Between two looks at whether the parent is there."""

_trainings: dict[Any, Training] = {}
"""What a worker process can be asked to run; filled once when it starts."""


def _begin(begun: Event, told: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interruption ends workers without a word
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begun.set()
    torch.set_num_threads(1)
    sys.stdout = sys.stderr  # networks may print, and the output belongs to the command
    _trainings.update(pickle.loads(told.read_bytes()))  # noqa: S301 (our own bytes, from our parent)


def _end_with_parent() -> None:
    """End this worker when the command has gone, killed perhaps: nobody waits for the run.

    The system closes a pipe when the parent ends, unless a process that the parent forked holds it
    too; the number of the parent changes then.
    """
    parent = parent_process()
    if parent is not None:
        while parent.is_alive() and (os.name != "posix" or os.getppid() == parent.pid):
            parent.join(SECONDS)
        os._exit(1)


def _run(name: Any) -> Mapping[str, bytes] | None:
    """Run a training; return the files of its run where they could not be written."""
    training = _trainings[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNKEPT)  # which the parent finds out and says
        training.run(CPU)
    return held_files(training.key)
