"""A connection to a Dask cluster: who works there, tasks sent, tasks done."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from repsim_energy.errors import RepsimError, RepsimWarning, UsageError
from repsim_energy.interfaces import ModelSpec
from repsim_energy.scheduling.dask_worker import refusal
from repsim_energy.versions import OWN, version_of

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Connection", "connected"]

PATIENCE = 10
"""Seconds that a scheduler gets to answer, and between two looks for workers."""

GLANCE = 0.1
"""Seconds between two looks at results that were lost with their workers."""

REMEDY = "install there what is installed here"

Name = TypeVar("Name")


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    """Give a connection; tasks that nobody has begun when it is left are forgotten.

    Raises
    ------
    UsageError
        Where Dask is not installed, or no scheduler answers.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise UsageError(
            f"scheduler '{address}' needs Dask, which is not installed; "
            "pip install 'repsim-energy[dist]'"
        ) from error
    # We say ourselves what went wrong, and data sets are sent once, however large.
    ours = {"distributed.admin.large-graph-warning-threshold": "1 PB"}
    with _quiet(), dask.config.set(ours):
        try:
            client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise UsageError(
                f"no Dask scheduler answers at '{address}', expected one within {PATIENCE} s; "
                "start it with `dask scheduler`, or use scheduler=local"
            ) from error
        with client:
            yield Connection(client, address)


class Connection:
    """What is asked of a cluster."""

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address
        self._idle = False

    @property
    def workers(self) -> Mapping[str, Any]:
        """Address of each worker process -> what is known of it."""
        found: Mapping[str, Any] = self._client.scheduler_info()["workers"]
        return found

    def submit(self, kind: str, function: Callable[..., Any], *arguments: Any) -> Future:
        """Have a function called; ``kind`` is what the dashboard calls it."""
        key = f"repsim-{kind}-{uuid.uuid4().hex}"
        return self._client.submit(function, *arguments, key=key, pure=False)

    def as_done(self, futures: Mapping[Name, Future]) -> Iterator[Name]:
        """Yield the names of tasks, each when it is done.

        A worker that is ended takes the results with it that it held; Dask has them made again.
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
                future = done.get(timeout=GLANCE if again else PATIENCE)
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
        """Return what a task gives, once it is done."""
        list(self.as_done({"": future}))
        return future.result()

    def lost(self) -> RepsimError:
        """Return the error for a scheduler that has gone."""
        return RepsimError(
            f"the scheduler at '{self._address}' has gone; finished runs are kept, "
            "the same command goes on there"
        )

    def check(self, specs: Iterable[ModelSpec] = ()) -> dict[str, str]:
        """Refuse workers that could not do the work as it would be done here.

        Returns
        -------
        The versions that they need, for workers that join later.
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
        """Refuse a scheduler that could not read the names of what it hands on."""
        ours = {OWN: versions[OWN]}
        try:
            reason = self._client.run_on_scheduler(refusal, ours)
        except Exception as error:  # whatever its environment raises
            reason = error
        if reason is not None:
            raise UsageError(f"scheduler {self._address} {_in_words(reason)}; {REMEDY}")

    def warn_of_differences(self) -> None:
        """Warn of workers whose runs differ in a bit, or that do less than they could."""
        here = version_of("torch")
        found = set(self._client.run(version_of, "torch").values()) - {here}
        if found:
            _warn(
                f"workers have torch {', '.join(sorted(found))} and this process {here}: their "
                "runs equal local ones within rounding, not in every bit"
            )
        if any(worker["nthreads"] > 1 for worker in self.workers.values()):
            _warn(
                "workers have several threads, of which a training uses one; start as many as "
                "there are cores, each with --nthreads 1"
            )

    def _warn_of_idleness(self) -> None:
        if not self._idle and not self.workers:
            self._idle = True
            _warn(f"no workers at '{self._address}' yet; waiting for them")


def _in_words(reason: str | Exception) -> str:
    if isinstance(reason, str):
        return reason
    return f"cannot load repsim-energy ({type(reason).__name__}: {reason})"


def _versions(specs: Iterable[ModelSpec]) -> dict[str, str]:
    """Return distribution -> version of all whose code decides a run."""
    versions = {OWN: version_of(OWN)}
    for spec in specs:
        for origin in spec.origins:
            if not origin.is_file:  # files are sent along with the model
                versions[origin.distribution] = origin.version
    return versions


def _warn(message: str) -> None:
    warnings.warn(message, RepsimWarning, stacklevel=3)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from logging what is said in one line here."""
    names = [n for n in logging.root.manager.loggerDict if n.partition(".")[0] == "distributed"]
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
