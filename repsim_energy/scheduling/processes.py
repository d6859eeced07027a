"""Worker processes of this machine, one thread each."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from repsim_energy.errors import RepsimError
from repsim_energy.scheduling.sending import write_pickle
from repsim_energy.storage import temporary_folder
from repsim_energy.training.run_files import UNKEPT, held_files
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

__all__ = ["CPU", "run_sent", "sent_by_file", "submit", "worker_pool"]

CPU = torch.device("cpu")

CHECK_SECONDS = 1.0
"""Time between two checks of a worker whether its parent process is alive."""

_trainings: dict[Any, Training] = {}
"""The trainings that a worker process can run, read once when it starts."""


@contextmanager
def worker_pool(
    processes: int, trainings: Mapping[Any, Training] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes that can run some trainings.

    They end with the context, which is to be left when all tasks are done. A thread that a plugin
    has left in a worker keeps none of them.
    """
    from loky import ProcessPoolExecutor  # here, because a comparison from the cache starts none

    with sent_by_file(trainings or {}) as path:
        get_context("spawn").Lock()  # starts Python's resource tracker, which unblocks SIGINT
        pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(path, os.getpid()))
        try:
            yield pool
        finally:  # an interruption does not wait for the tasks
            pool.shutdown(kill_workers=True)


def submit(pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Have a function called in a worker process.

    SIGINT is blocked while workers start, so that Ctrl-C cannot interrupt a half-started process;
    they inherit that and unblock it themselves.
    """
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        future: Future[Any] = pool.submit(function, *arguments)
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return future


@contextmanager
def sent_by_file(trainings: Mapping[Any, Training]) -> Iterator[Path]:
    """Write trainings to a temporary file, which each worker process reads once."""
    with temporary_folder() as folder:
        path = folder / "trainings"
        try:
            with path.open("wb") as file:
                write_pickle(trainings, file)
        except OSError as error:
            raise RepsimError(
                f"trainings for other processes could not be written to '{folder}' "
                f"({error.strerror or error}); use jobs=1, or TMPDIR with more room"
            ) from error
        yield path


def run_sent(name: Any, mark: Path) -> Mapping[str, bytes] | None:
    """Run a training in a worker process.

    Parameters
    ----------
    name : of the training
    mark : file to create first, which shows that a worker has begun

    Returns
    -------
    The files of its run, if the worker could not write them to the run cache.
    """
    with contextlib.suppress(OSError):
        mark.touch()
    training = _trainings[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNKEPT)  # the parent process warns
        training.run(CPU)
    return held_files(training.key)


def _begin(path: Path, parent: int) -> None:
    """Prepare a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interruption ends it without a traceback
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    sys.stdout = sys.stderr  # networks may print, and the output belongs to the command
    _trainings.update(pickle.loads(path.read_bytes()))  # noqa: S301 (written by our parent process)


def _end_with_parent(parent: int) -> None:
    """End this worker soon after its parent process, which may have been killed."""
    handle = parent_process()
    while os.getppid() == parent if os.name == "posix" else handle and handle.is_alive():
        time.sleep(CHECK_SECONDS)
    os._exit(1)
