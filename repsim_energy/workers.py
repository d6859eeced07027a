"""Worker processes of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TYPE_CHECKING, Any, NamedTuple

from repsim_energy.errors import RepsimWarning, warn

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor

__all__ = [
    "in_order",
    "kept_pool",
    "pool_kept",
    "result_of",
    "submit",
    "usable_cores",
    "worker_pool",
]

CHECK_SECONDS = 1.0
"""Time between two checks of a worker whether its parent process is alive."""

_repeated: dict[str | tuple[str, type[Warning], int], int] = {}
"""Warnings of other libraries in workers that were repeated here, as Python registers them."""


class _Warned(NamedTuple):
    """Warning of another process."""

    text: str
    category: type[Warning]
    filename: str
    lineno: int


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use.

    Its affinity and the quota of its container limit them, and the environment variable
    ``LOKY_MAX_CPU_COUNT``.
    """
    from loky import cpu_count  # here, because a comparison from the cache starts no process

    cores: int = cpu_count()
    return cores


@contextmanager
def worker_pool(
    processes: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes. They end with the context, which is to be left when tasks are done.

    A thread that a plugin has left in a worker keeps none of them.

    Parameters
    ----------
    processes : maximum number of processes
    begin : called once in each process, with the arguments
    """
    from loky import ProcessPoolExecutor  # here, because a comparison from the cache starts none

    get_context("spawn").Lock()  # starts Python's resource tracker, which unblocks SIGINT
    initial = (os.getpid(), begin, arguments)
    pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=initial)
    try:
        yield pool
    finally:  # an interruption does not wait for the tasks
        pool.shutdown(kill_workers=True)


@dataclass
class _Keeper:
    """Worker processes that are kept until a context ends."""

    stack: ExitStack
    pool: ProcessPoolExecutor | None = None


_keeper: ContextVar[_Keeper | None] = ContextVar("keeper", default=None)


@contextmanager
def pool_kept() -> Iterator[None]:
    """Keep the worker processes of :func:`kept_pool` until this context ends."""
    with ExitStack() as stack:
        token = _keeper.set(_Keeper(stack))
        try:
            yield
        finally:
            _keeper.reset(token)


@contextmanager
def kept_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes as :func:`worker_pool` does, or go on with those that are kept.

    If the block fails they end at once.
    """
    keeper = _keeper.get()
    if keeper is None:
        with worker_pool(processes) as pool:
            yield pool
        return
    if keeper.pool is None:
        keeper.pool = keeper.stack.enter_context(worker_pool(processes))
    try:
        yield keeper.pool
    except BaseException:
        keeper.pool = None
        keeper.stack.close()
        raise


def submit(pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Have a function called in a worker process. :func:`result_of` the future is what it returns.

    SIGINT is blocked while workers start, so that Ctrl-C cannot interrupt a half-started process;
    they inherit that and unblock it themselves.
    """
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        future: Future[Any] = pool.submit(_call, function, arguments)
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return future


def _call(
    function: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Any, tuple[_Warned, ...]]:
    """Call a function in a worker process, and return its result and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RepsimWarning)  # the parent process has the user's filters
        value = function(*arguments)
    said = [_Warned(str(one.message), one.category, one.filename, one.lineno) for one in caught]
    return value, tuple(dict.fromkeys(said))


def result_of(future: Future[Any]) -> Any:
    """Wait for the result of a function in a worker process, and repeat its warnings here.

    Those of this package name the user's line, as if the function had been called here.
    """
    warned: tuple[_Warned, ...]
    value, warned = future.result()
    for one in warned:
        if issubclass(one.category, RepsimWarning):
            warn(one.text, one.category)
        else:
            warnings.warn_explicit(*one, registry=_repeated)
    return value


def in_order(
    submit: Callable[[Any], Callable[[], Any]], items: Iterable[Any], ahead: int
) -> Iterator[Any]:
    """Yield the results of items in their order, with at most ``ahead`` submitted at a time.

    ``submit`` submits an item and returns a function that waits for its result.
    """
    remaining = iter(items)
    under_way = deque(submit(item) for item in islice(remaining, ahead))
    while under_way:
        yield under_way.popleft()()
        under_way.extend(submit(item) for item in islice(remaining, 1))


def _begin(parent: int, begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """Prepare a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interruption ends it without a traceback
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent(parent: int) -> None:
    """End this worker soon after its parent process, which may have been killed."""
    handle = parent_process()
    while os.getppid() == parent if os.name == "posix" else handle and handle.is_alive():
        time.sleep(CHECK_SECONDS)
    os._exit(1)
