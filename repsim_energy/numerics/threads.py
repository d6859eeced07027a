"""Work in one thread, where the bits of a result must not depend on how many there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]

_changing = threading.Lock()
"""Held while torch's number of threads is read or changed."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, and in as many as before afterwards; other threads keep theirs.

    torch has a number for each thread of a program, and a thread that is new to it takes the number
    that was set last. That one is put back at once, lest threads that begin meanwhile keep ours.
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
    """Set the number of this thread, and leave that of new threads as it was."""
    usual: list[int] = []
    with _changing:
        _in_new_thread(lambda: usual.append(torch.get_num_threads()))
        torch.set_num_threads(number)
        if usual[0] != number:
            _in_new_thread(lambda: torch.set_num_threads(usual[0]))
            if torch.get_num_threads() != number:  # where torch has one number for all threads
                torch.set_num_threads(number)


def _in_new_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join()
