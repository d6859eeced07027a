"""Worker processes of this machine, one thread each."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import torch

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.scheduling.sending import write_pickle
from repsim_energy.training.run_cache import UNKEPT, held_files
from repsim_energy.training.training import Training

__all__ = ["CPU", "Pool", "run_sent", "sent_by_file", "worker_pool"]

CPU = torch.device("cpu")

GUARD = (
    "a script that trains in several processes is saved in a file and works below "
    '`if __name__ == "__main__":`; without jobs= it needs neither'
)
"""What to do where processes cannot begin."""


@contextmanager
def worker_pool(processes: int, trainings: Mapping[Any, Training] | None = None) -> Iterator[Pool]:
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
    with sent_by_file(trainings or {}) as told:
        try:
            with ProcessPoolExecutor(processes, context, _begin, (begun, told)) as pool:
                try:
                    yield Pool(pool, begun)
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
class Pool:
    """Processes, and whether one of them has begun."""

    executor: ProcessPoolExecutor
    begun: Event

    def submit(self, function: Callable[..., Any], *given: Any) -> Future[Any]:
        """Have a function called in one of the processes."""
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


@contextmanager
def sent_by_file(trainings: Mapping[Any, Training]) -> Iterator[Path]:
    """Give a file that holds the trainings.

    A process that never comes to read it holds up nobody, as one does that is written to.
    """
    with tempfile.TemporaryDirectory(prefix="repsim-") as folder:
        path = Path(folder, "trainings")
        try:
            with path.open("wb") as file:
                write_pickle(trainings, file)
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


def run_sent(name: Any) -> Mapping[str, bytes] | None:
    """Run a training; return the files of its run where they could not be written."""
    training = _trainings[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNKEPT)  # which the parent finds out and says
        training.run(CPU)
    return held_files(training.key)
