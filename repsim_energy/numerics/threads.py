"""Threads of torch, and threads of Python that each compute with one thread of torch.

torch computes a product in several threads, whose number is a setting of each thread of a program.
Many small products are faster one beside the other, in several threads of Python with one thread
of torch each: kernels of torch release the interpreter while they compute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from repsim_energy.numerics.settings import own_settings

__all__ = ["Worker", "one_thread", "share_tasks"]

_changing = threading.Lock()
"""Lock for reading and changing torch's number of threads."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, then restore the number of threads.

    torch has this number for each thread of a program, and a new thread takes the number that was
    set last. That one is restored at once, so that threads that start meanwhile are not affected.
    """
    with _changing:
        before = torch.get_num_threads()
    if before == 1:
        yield
        return
    _set_here(1)
    try:
        yield
    finally:
        _set_here(before)


def _set_here(number: int) -> None:
    """Set the number for this thread, and restore that for new threads."""
    default: list[int] = []
    with _changing:
        _in_new_thread(lambda: default.append(torch.get_num_threads()))
        torch.set_num_threads(number)
        if default[0] != number:
            _in_new_thread(lambda: torch.set_num_threads(default[0]))
            if torch.get_num_threads() != number:  # where torch has one number for all threads
                torch.set_num_threads(number)


def _in_new_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join()


class Worker(Protocol):
    """Work of one thread on numbered tasks."""

    def compute(self, task: int) -> None:
        """Compute a task, while other threads compute others."""

    def add(self, task: int) -> None:
        """Add its result to those of other tasks, while no other thread adds."""


def share_tasks(
    count: int, make_worker: Callable[[], Worker], after: Callable[[], None], *, ordered: bool
) -> None:
    """Compute tasks in as many threads as torch may use here, with one thread of torch in each.

    The calling thread is one of them, so that none is started where torch may use one. The number
    of torch threads is changed for these threads alone, as :func:`one_thread` does. Other threads
    of the program compute with as many as before.

    Parameters
    ----------
    count : the number of tasks
    make_worker : called once in each thread
    after : called after each task of the calling thread, and at the end
    ordered : True adds results in the order of the tasks, so that sums of floats have the same bits
        for any number of threads. Threads then wait for each other

    Raises
    ------
    BaseException
        The first error of any thread, or KeyboardInterrupt, after all threads have ended. Each
        finishes the task that it computes.
    """
    queue = _Queue(count, ordered)

    def work(report: Callable[[], None]) -> None:
        try:
            with one_thread(), own_settings():
                worker = make_worker()
                while (task := queue.take()) is not None:
                    worker.compute(task)
                    queue.in_turn(task, worker.add)
                    report()
        except BaseException as error:  # raised in the calling thread
            queue.fail(error)

    number = min(torch.get_num_threads(), count)
    threads = [threading.Thread(target=work, args=(lambda: None,)) for _ in range(number - 1)]
    try:
        for thread in threads:
            thread.start()
        work(after)
    except BaseException as error:
        queue.fail(error)
        raise
    finally:
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if queue.error is not None:
        raise queue.error
    after()


class _Queue:
    """Numbers of tasks, which any thread takes, and whose results are added one at a time."""

    def __init__(self, count: int, ordered: bool) -> None:
        self._count, self._ordered, self._taken, self._added = count, ordered, 0, 0
        self._changed = threading.Condition()
        self.error: BaseException | None = None

    def take(self) -> int | None:
        """Return the next task; None where none is left, or one has failed."""
        with self._changed:
            if self._taken == self._count or self.error is not None:
                return None
            self._taken += 1
            return self._taken - 1

    def in_turn(self, task: int, add: Callable[[int], None]) -> None:
        """Call ``add`` while no other thread does, unless a task has failed."""
        with self._changed:
            if self._ordered:
                self._changed.wait_for(lambda: self._added == task or self.error is not None)
            if self.error is None:
                add(task)
                self._added += 1
                self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let no thread take another task."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()
