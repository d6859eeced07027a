"""Scheduler that runs trainings and sums as tasks of a Dask cluster.

Every data set is sent once, and finished runs come back as bytes, so that workers need no shared
file system. A data set is a task too: if the workers with its result are lost, Dask repeats it. A
training that is repeated gives the same bits.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from repsim_energy.errors import RepsimError, TrainingError
from repsim_energy.progress import Reporter
from repsim_energy.scheduling.dask_client import Connection, connected
from repsim_energy.scheduling.dask_worker import call, run_on_worker
from repsim_energy.scheduling.sending import pickled
from repsim_energy.scheduling.serial import collect, run_here
from repsim_energy.scheduling.tally import Outcomes, Tally
from repsim_energy.training.run_files import keep_received
from repsim_energy.training.training import Training
from repsim_energy.workers import in_order

if TYPE_CHECKING:
    import torch
    from distributed import Future

__all__ = ["Cluster"]

Name = TypeVar("Name")

Ended = Iterator[tuple[Name, TrainingError | None]]
"""The name of each training that has ended, with its error, or ``None`` if its run is stored."""

ITEMS_PER_WORKER = 4
"""Submitted items per worker, so that none waits for the next."""


class Cluster:
    """The workers of a Dask scheduler.

    Parameters
    ----------
    address : such as ``tcp://host:8786``
    """

    unit: ClassVar[str] = "workers"
    is_local: ClassVar[bool] = False

    def __init__(self, address: str) -> None:
        self.address = address
        self._entered = 0
        self._opened = ExitStack()
        self._connected: Connection | None = None

    def __repr__(self) -> str:
        return f"Cluster('{self.address}')"

    def __enter__(self) -> Self:
        """Connect, and refuse workers of other versions."""
        if not self._entered:
            self._connected = self._opened.enter_context(self._connect())
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect at the end of the outermost ``with``."""
        self._entered -= 1
        if not self._entered:
            self._connected = None
            self._opened.close()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        with connected(self.address) as connection:
            connection.check()
            connection.warn_of_differences()
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Give the connection of the outermost ``with``, or a new one."""
        if self._connected is not None:
            yield self._connected
        else:
            with self._connect() as connection:
                yield connection

    def at_once(self, tasks: int) -> int:
        """Return the number of concurrent trainings: one in each worker process."""
        with self._connection() as connection:
            return max(1, min(len(connection.workers), tasks))

    def runs(
        self, trainings: Mapping[Name, Training], device: torch.device, reporter: Reporter
    ) -> Outcomes[Name]:
        """Yield the run of each training, or its error, once it has ended.

        Trainings that no worker can run (code without a name) are run in this process.
        """
        tally, here = Tally(reporter, len(trainings)), dict(trainings)
        sent = {n: t for n, t in trainings.items() if t.is_portable and not t.is_cached}
        for name, failure in self._sent(sent, str(device)):
            training = here.pop(name)
            if failure is None:
                yield name, collect(training, device, tally)
            else:
                tally.end(training, failure)
                yield name, failure
        yield from run_here(here, device, tally)

    def _sent(self, trainings: Mapping[Name, Training], device: str) -> Ended[Name]:
        if not trainings:
            return
        with self._connection() as connection:
            sweep = _Sweep(connection, trainings, device)
            lost = []
            for name, failure in sweep.ended(trainings):
                if isinstance(failure, _WorkersLost):
                    lost.append(name)
                else:
                    yield name, failure
            for name in lost:  # one at a time: of the runs that a worker had, one ended it
                yield from sweep.ended([name])

    def in_order(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield ``function(item)`` of each item, in the order of the items."""
        import cloudpickle
        from distributed import KilledWorker

        with self._connection() as connection:

            def submit(item: Any) -> Callable[[], Any]:
                future = connection.submit("piece", call, cloudpickle.dumps((function, item)))
                return lambda: connection.result(future)

            try:
                yield from in_order(
                    submit, items, ITEMS_PER_WORKER * max(1, len(connection.workers))
                )
            except KilledWorker as error:
                raise RepsimError(
                    "every worker that summed a certain chunk ended, perhaps because memory ran "
                    "out; give workers more memory, or use smaller chunks"
                ) from error


class _WorkersLost(TrainingError):
    """Error of a training whose workers have ended."""


class _Sweep(Generic[Name]):
    """Trainings on a cluster, with the models and data sets that were sent."""

    def __init__(
        self, connection: Connection, trainings: Mapping[Name, Training], device: str
    ) -> None:
        import cloudpickle

        self._connection = connection
        self._trainings = trainings
        self._device = device
        models = {training.model for training in trainings.values()}
        self._versions = connection.check(models)
        self._models = {model: cloudpickle.dumps(model) for model in models}
        self._data = {
            data: connection.submit("data", pickle.loads, pickled(data))
            for data in {training.data for training in trainings.values()}
        }

    def ended(self, names: Iterable[Name]) -> Ended[Name]:
        """Run trainings; yield the name of each once its run is stored, or with its error."""
        futures = {name: self._submit(self._trainings[name]) for name in names}
        for name in self._connection.as_done(futures):
            yield name, self._failure(self._trainings[name], futures.pop(name))

    def _submit(self, training: Training) -> Future:
        return self._connection.submit(
            "run",
            run_on_worker,
            self._models[training.model],
            self._data[training.data],
            training.seed,
            training.recipe,
            self._device,
            self._versions,
        )

    def _failure(self, training: Training, future: Future) -> TrainingError | None:
        from distributed import KilledWorker

        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                return _WorkersLost(
                    "the workers that trained it ended, perhaps because memory ran out; "
                    "give workers more memory, finished runs are kept"
                )
            if isinstance(error, TrainingError):
                return error
            if isinstance(error, RepsimError):
                raise error
            raise RepsimError(
                f"a worker failed ({type(error).__name__}: {error}); finished runs are kept"
            ) from error
        if not training.is_cached:  # else the worker shares this cache
            keep_received(training.key, self._connection.result(future))
        return None
