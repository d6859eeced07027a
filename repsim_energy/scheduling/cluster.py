"""Work as tasks of a Dask cluster; whatever becomes of a worker, each task counts once.

A driver sends every data set once and gets finished runs back as bytes, so that workers need not
share its file system. A data set is a task like any other: should the workers that hold it be
lost, Dask has it made again. A run that is trained again ends with the same bits.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from repsim_energy.errors import RepsimError, TrainingError
from repsim_energy.interfaces import Dataset, ImageSet
from repsim_energy.scheduling.connection import Connection, connected
from repsim_energy.scheduling.on_worker import call, make
from repsim_energy.scheduling.processes import in_order
from repsim_energy.scheduling.tasks import Key, Outcomes, Tasks, that_others_can_make
from repsim_energy.training.runs import is_cached, run_key
from repsim_energy.training.transfer import keep_received

if TYPE_CHECKING:
    import torch
    from distributed import Future

__all__ = ["Cluster"]

AHEAD = 4
"""Pieces per worker that are under way, so that none waits for the next."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a Dask scheduler.

    Parameters
    ----------
    address : such as ``tcp://host:8786``
    """

    address: str
    unit: ClassVar[str] = "workers"

    def check(self) -> None:
        """Refuse a scheduler that does not answer, and workers of other versions."""
        with connected(self.address) as connection:
            connection.check()
            connection.warn_of_differences()

    def at_once(self, tasks: int) -> int:
        """Return how many of so many runs are trained at once: one in each worker process."""
        with connected(self.address) as connection:
            return max(1, min(len(connection.workers), tasks))

    def make_runs(self, tasks: Tasks, device: torch.device) -> Outcomes:
        """Make runs; yield each when it is kept, or why it is not.

        Left out is what no worker can be told to make (code without a name).
        """
        tasks = that_others_can_make(tasks)
        if not tasks:
            return
        with connected(self.address) as connection:
            sweep = _Sweep(connection, tasks, str(device))
            lost = []
            for key, error in sweep.made(tasks):
                if isinstance(error, _WorkersLost):
                    lost.append(key)
                else:
                    yield key, error
            for key in lost:  # one at a time: of the runs that a worker had, one ended it
                yield from sweep.made([key])

    def in_order(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        import cloudpickle
        from distributed import KilledWorker

        with connected(self.address) as connection:
            connection.check()

            def submit(item: Any) -> Callable[[], Any]:
                future = connection.submit("piece", call, cloudpickle.dumps((function, item)))
                return lambda: connection.result(future)

            try:
                yield from in_order(submit, items, AHEAD * max(1, len(connection.workers)))
            except KilledWorker as error:
                raise RepsimError(
                    "every worker that took a certain piece was ended, perhaps for want of memory; "
                    "give workers more memory, or take smaller pieces"
                ) from error


class _WorkersLost(TrainingError):
    """The workers that had a run were ended."""


class _Sweep:
    """Runs to be made, with what the workers need to know."""

    def __init__(self, connection: Connection, tasks: Tasks, device: str) -> None:
        import cloudpickle

        self._connection = connection
        self._tasks = tasks
        self._device = device
        specs = {spec for spec, *_ in tasks.values()}
        self._versions = connection.check(specs)
        self._specs = {spec: cloudpickle.dumps(spec) for spec in specs}
        self._data = {
            data: connection.submit("data", pickle.loads, pickle.dumps(_alone(data)))
            for data in {data for _, data, *_ in tasks.values()}
        }

    def made(self, keys: Iterable[Key]) -> Outcomes:
        """Have runs made; yield each when it is kept, or why it is not."""
        futures = {key: self._submit(key) for key in keys}
        for key in self._connection.as_done(futures):
            yield key, self._outcome(key, futures.pop(key))

    def _submit(self, key: Key) -> Future:
        spec, data, seed, recipe = self._tasks[key]
        return self._connection.submit(
            "run", make, self._specs[spec], self._data[data], seed, recipe, self._device,
            self._versions,
        )  # fmt: skip

    def _outcome(self, key: Key, future: Future) -> TrainingError | None:
        from distributed import KilledWorker

        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return _WorkersLost(
                    "the workers that trained it were ended, perhaps for want of memory; "
                    "give workers more of it, finished runs are kept"
                )
            if isinstance(error, TrainingError):
                return error
            if isinstance(error, RepsimError):
                raise error
            raise RepsimError(
                f"a worker failed ({type(error).__name__}: {error}); finished runs are kept"
            ) from error
        task = self._tasks[key]
        if not is_cached(*task):  # else the worker shares this cache
            name = run_key(*task)
            assert name is not None
            keep_received(name, self._connection.result(future))
        return None


def _alone(data: Dataset) -> Dataset:
    """Return a data set whose images hold no memory of others, which would be sent along."""

    def own(images: ImageSet) -> ImageSet:
        shared = images.images.untyped_storage().nbytes() > images.images.nbytes
        return replace(images, images=images.images.clone()) if shared else images

    return replace(data, train=own(data.train), test=own(data.test))
