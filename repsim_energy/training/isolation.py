"""Isolation of trainings from the settings and random numbers of the surrounding program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from repsim_energy.errors import UsageError
from repsim_energy.numerics.settings import own_settings

__all__ = ["float32_by_default", "training_settings"]


@contextmanager
def training_settings() -> Iterator[None]:
    """Set the defaults of torch for building and training, as a context or a decorator.

    These are :func:`~repsim_energy.numerics.settings.own_settings` with graphs, and float32
    as the default dtype.
    """
    with float32_by_default(), own_settings(grad=True):
        yield


class _Default:
    """The default dtype of the caller, and the threads that need float32, with their nesting."""

    lock = threading.Lock()
    inside: dict[int, int] = {}
    before: torch.dtype | None = None


@contextmanager
def float32_by_default() -> Iterator[None]:
    """Make float32 the default dtype, and restore the previous one.

    All threads of a program share the default dtype. It is float32 while any thread is in this
    context, and the last thread to leave restores the previous one.

    Raises
    ------
    UsageError
        If it is another one and other threads of the caller run, which would see the change.
    """
    me = threading.get_ident()
    with _Default.lock:
        if torch.get_default_dtype() != torch.float32:
            _refuse_other_threads(me)
            _Default.before = _Default.before or torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        _Default.inside[me] = _Default.inside.get(me, 0) + 1
    try:
        yield
    finally:
        with _Default.lock:
            _Default.inside[me] -= 1
            if not _Default.inside[me]:
                del _Default.inside[me]
            if not _Default.inside and _Default.before is not None:
                torch.set_default_dtype(_Default.before)
                _Default.before = None


def _refuse_other_threads(me: int) -> None:
    """Refuse to change the default dtype if threads outside of the context may use it.

    Daemon threads belong to tools (progress bars, notebooks), which do not compute with torch.
    """
    inside = {me, *_Default.inside}
    others = [t.name for t in threading.enumerate() if not t.daemon and t.ident not in inside]
    if others:
        raise UsageError(
            f"the default dtype is {torch.get_default_dtype()} while other threads are at work "
            f"({', '.join(others[:3])}), expected torch.float32, from which networks are built; "
            "call torch.set_default_dtype(torch.float32), or compare outside of threads"
        )
