"""Connection to a Dask cluster: workers, submitted tasks, results."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from repsim_energy.errors import RepsimError, UsageError, not_installed, warn
from repsim_energy.interfaces import ModelSpec
from repsim_energy.scheduling.dask_worker import refusal
from repsim_energy.versions import OWN, version_of

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Connection", "connected"]

TIMEOUT_SECONDS = 10
"""Time for a scheduler to answer, and between two checks for workers."""

POLL_SECONDS = 0.1
"""Time between two checks of results that were lost with their workers."""

REMEDY = "install there what is installed here"

Name = TypeVar("Name")


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """Connect to a cluster. At the end, tasks that have not begun are canceled.

    Raises
    ------
    UsageError
        If Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise not_installed(f"scheduler '{address}' needs Dask", "dist") from error
    # We say ourselves what went wrong, and data sets are sent once, however large.
    ours = {"distributed.admin.large-graph-warning-threshold": "1 PB"}
    with _quiet(), dask.config.set(ours):
        try:
            client = distributed.Client(address, timeout=TIMEOUT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise UsageError(
                f"no Dask scheduler answers at '{address}', expected one within "
                f"{TIMEOUT_SECONDS} s; start it with `dask scheduler`, or use scheduler=local"
            ) from error
        with client:
            yield Connection(client, address)


class Connection:
    """Connection to the scheduler of a Dask cluster."""

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address
        self._idle = False

    @property
    def workers(self) -> Mapping[str, Any]:
        """Address of each worker process -> its properties."""
        found: Mapping[str, Any] = self._client.scheduler_info()["workers"]
        return found

    def submit(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Future:
        """Submit a call of a function, which Dask's dashboard names ``kind``."""
        key = f"repsim-{kind}-{uuid.uuid4().hex}"
        return self._client.submit(function, *arguments, key=key, pure=False)

    def as_done(self, futures: Mapping[Name, Future]) -> Iterator[Name]:
        """Yield the name of each task once it is done.

        Results of a worker that ends are lost; Dask then repeats their tasks.
        """
        done: SimpleQueue[Future] = SimpleQueue()
        names = {future.key: name for name, future in futures.items()}
        for future in futures.values():
            future.add_done_callback(done.put)
        again: list[Future] = []
        while names:
            for future in [future for future in again if future.status != "lost"]:
                again.remove(future)
                future.add_done_callback(done.put)
            try:
                future = done.get(timeout=POLL_SECONDS if again else TIMEOUT_SECONDS)
            except Empty:
                if not again:
                    self._warn_of_idleness()
                continue
            if future.status == "lost":
                again.append(future)
            elif future.status == "pending":
                future.add_done_callback(done.put)
            elif future.status in ("finished", "error"):
                yield names.pop(future.key)
            else:
                raise self.lost()

    def result(self, future: Future) -> Any:
        """Wait for a task and return its result."""
        list(self.as_done({"": future}))
        return future.result()

    def lost(self) -> RepsimError:
        """Return the error for a lost connection to the scheduler."""
        return RepsimError(
            f"the scheduler at '{self._address}' is no longer there; finished runs are kept, "
            "the same command goes on there"
        )

    def check(self, specs: Iterable[ModelSpec] = ()) -> dict[str, str]:
        """Refuse workers with other versions or without the models.

        Returns
        -------
        The required versions, for workers that join later.
        """
        import cloudpickle

        specs = list(specs)
        versions = _versions(specs)
        content = [cloudpickle.dumps(spec) for spec in specs]
        self._refuse_scheduler(versions)
        found = self._client.run(refusal, versions, content, on_error="return")
        for worker, reason in found.items():
            if reason is not None:
                raise UsageError(f"worker {worker} {_in_words(reason)}; {REMEDY}")
        return versions

    def _refuse_scheduler(self, versions: Mapping[str, str]) -> None:
        """Refuse a scheduler with another version, which could not read the tasks."""
        ours = {OWN: versions[OWN]}
        try:
            reason = self._client.run_on_scheduler(refusal, ours)
        except Exception as error:  # whatever its environment raises
            reason = error
        if reason is not None:
            raise UsageError(f"scheduler {self._address} {_in_words(reason)}; {REMEDY}")

    def warn_of_differences(self) -> None:
        """Warn of workers whose torch rounds otherwise, or whose threads are idle."""
        here = version_of("torch")
        found = set(self._client.run(version_of, "torch").values()) - {here}
        if found:
            warn(
                f"workers have torch {', '.join(sorted(found))} and this process {here}: their "
                "runs equal local ones within rounding, not in every bit"
            )
        if any(worker["nthreads"] > 1 for worker in self.workers.values()):
            warn(
                "workers have several threads, of which a training uses one; start as many as "
                "there are cores, each with --nthreads 1"
            )

    def _warn_of_idleness(self) -> None:
        if not self._idle and not self.workers:
            self._idle = True
            warn(f"no workers at '{self._address}' yet; waiting for them")


def _in_words(reason: str | Exception) -> str:
    if isinstance(reason, str):
        return reason
    return f"cannot load repsim-energy ({type(reason).__name__}: {reason})"


def _versions(specs: Iterable[ModelSpec]) -> dict[str, str]:
    """Return distribution -> version of all code that determines a run."""
    versions = {OWN: version_of(OWN)}
    for spec in specs:
        for origin in spec.origins:
            if not origin.is_file:  # files are sent along with the model
                versions[origin.distribution] = origin.version
    return versions


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the logs of Dask, whose errors are reported in one line here."""
    names = [n for n in logging.root.manager.loggerDict if n.partition(".")[0] == "distributed"]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
