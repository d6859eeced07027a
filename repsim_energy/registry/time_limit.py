"""A limit to the time that code of a plugin takes before it gives back control."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from repsim_energy.errors import PluginError, UsageError

__all__ = ["plugin_seconds", "time_limit"]

VARIABLE = "REPSIM_PLUGIN_SECONDS"
"""Environment variable of the limit."""

DEFAULT_SECONDS = 60.0

SLOW_SECONDS = 10.0
"""Time after which a line says what is waited for."""

AGAIN_SECONDS = 1.0
"""Time after which code that went on in spite of the exception is interrupted again."""


class _TooLong(BaseException):
    """Raised in code of a plugin that takes too long."""


@contextmanager
def time_limit(what: str, stream: TextIO | None, busy: Callable[[], bool]) -> Iterator[None]:
    """Interrupt code that takes longer than the limit; where that is impossible, say what hangs.

    The main thread of POSIX systems can be interrupted while it runs Python code. A line names
    the plugin everywhere once it has taken some seconds.

    Parameters
    ----------
    what : name of the plugin
    stream : for the line
    busy : returns whether the code must not be interrupted at the moment

    Raises
    ------
    PluginError
        If the code took longer.
    """
    seconds = plugin_seconds()
    line = threading.Timer(min(seconds, SLOW_SECONDS), _say, (what, stream))
    line.daemon = True
    line.start()
    try:
        with _alarm(seconds, busy) as fired:
            yield
    except BaseException as error:
        if isinstance(error, _TooLong) or (fired and not isinstance(error, KeyboardInterrupt)):
            raise PluginError(
                f"took longer than {seconds:g} s; repair it, or set {VARIABLE} to more seconds"
            ) from None
        raise
    finally:
        line.cancel()
        line.join(AGAIN_SECONDS)


def plugin_seconds() -> float:
    """Return the limit.

    Raises
    ------
    UsageError
        If the environment variable is not a positive number.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT_SECONDS)
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return min(seconds, 1e8)  # which every clock can count
    raise UsageError(f"got {VARIABLE}={text!r}, expected a positive number of seconds")


def _say(what: str, stream: TextIO | None) -> None:
    if stream is not None:
        with suppress(OSError, ValueError):
            stream.write(
                f"warning: still waiting for {what}; REPSIM_NO_PLUGINS=1 leaves installed "
                f"plugins out, {VARIABLE} limits the time\n"
            )
            stream.flush()


@contextmanager
def _alarm(seconds: float, busy: Callable[[], bool]) -> Iterator[list[bool]]:
    """Raise :class:`_TooLong` in this thread after some seconds. An earlier alarm has precedence.

    Yields
    ------
    A list that is empty until that happens.
    """
    fired: list[bool] = []
    inside = True

    def interrupt(_: int, frame: FrameType | None) -> None:
        if inside and not busy():
            fired.append(True)
            raise _TooLong

    if not _can_alarm(seconds):
        yield fired
        return
    handler: Any = signal.signal(signal.SIGALRM, interrupt)
    started = time.monotonic()
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        with _lost_quietly():
            yield fired
    finally:
        inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if remaining:
            left = remaining - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3), interval)


@contextmanager
def _lost_quietly() -> Iterator[None]:
    """Report nothing where the exception is raised in a finalizer, which Python goes on behind.

    The next alarm then interrupts the code.
    """
    hook = sys.unraisablehook

    def report(lost: Any) -> None:
        if lost.exc_type is not _TooLong:
            hook(lost)

    sys.unraisablehook = report
    try:
        yield
    finally:
        if sys.unraisablehook is report:
            sys.unraisablehook = hook


def _can_alarm(seconds: float) -> bool:
    if not hasattr(signal, "setitimer"):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    if signal.getsignal(signal.SIGALRM) is None:  # a handler that is not of Python
        return False
    remaining, _ = signal.getitimer(signal.ITIMER_REAL)
    return not 0 < remaining < seconds
