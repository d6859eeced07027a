"""Single-threaded computation, for results whose bits must not depend on the number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]

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
