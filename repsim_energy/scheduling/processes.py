"""Worker processes of this machine, one thread each."""

from __future__ import annotations

import contextlib
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from repsim_energy.errors import RepsimError
from repsim_energy.files.storage import temporary_folder
from repsim_energy.scheduling.sending import write_pickle
from repsim_energy.training.run_files import UNKEPT, held_files
from repsim_energy.training.training import Training
from repsim_energy.workers import worker_pool

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

__all__ = ["CPU", "run_sent", "sent_by_file", "training_pool"]

CPU = torch.device("cpu")

_trainings: dict[Any, Training] = {}
"""The trainings that a worker process can run, read once when it starts."""


@contextmanager
def training_pool(
    processes: int, trainings: Mapping[Any, Training] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes that can run some trainings, as :func:`worker_pool` does."""
    with (
        sent_by_file(trainings or {}) as path,
        worker_pool(processes, _begin, path) as pool,
    ):
        yield pool


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


def _begin(path: Path) -> None:
    """Prepare a worker process."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr  # networks may print, and the output belongs to the command
    _trainings.update(pickle.loads(path.read_bytes()))  # noqa: S301 (written by our parent process)
