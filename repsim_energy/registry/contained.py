"""The context in which all code of plugins runs that this package did not ask to compute."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from repsim_energy.errors import visible
from repsim_energy.registry.plugin_state import restored
from repsim_energy.registry.time_limit import time_limit

__all__ = ["contained", "left_threads"]

SHOWN_BYTES = 200
"""Beginning of the output of a plugin that a note shows."""

_one_at_a_time = threading.RLock()
"""Lock for streams and settings, which belong to all threads."""

_left: list[threading.Thread] = []
"""Threads that plugins have started and not ended."""


@contextmanager
def contained(what: str, notes: list[str]) -> Iterator[None]:
    """Run code of a plugin and undo what it does to the process, with a note of each change.

    - It has a limited time, see :func:`~repsim_energy.registry.time_limit.time_limit`.
    - What it writes to ``sys.stdout`` and ``sys.stderr`` is counted and not shown, and
      ``sys.stdin`` is empty.
    - Settings that change numbers or belong to the program are restored, see
      :func:`~repsim_energy.registry.plugin_state.restored`.
    - Threads that it leaves behind are noted.

    Exceptions pass through. Changed functions of other modules, output of C code and the end of
    the whole process are out of reach.

    Parameters
    ----------
    what : name of the plugin, for a line while it takes long
    notes : receives a text for each change

    Raises
    ------
    PluginError
        If the code takes too long.
    """
    with _one_at_a_time, restored(notes) as imports, _threads_noted(notes):
        stream = sys.stderr
        with _output_noted(notes), time_limit(what, stream, lambda: bool(imports.under_way)):
            yield


def left_threads() -> list[threading.Thread]:
    """Return the threads of plugins that would keep this process from ending."""
    return [thread for thread in _left if thread.is_alive() and not thread.daemon]


@contextmanager
def _threads_noted(notes: list[str]) -> Iterator[None]:
    before = set(threading.enumerate())
    try:
        yield
    finally:
        left = [thread for thread in threading.enumerate() if thread not in before]
        _left[:] = [thread for thread in _left if thread.is_alive()] + left
        for thread in left:
            kind = "daemon thread" if thread.daemon else "thread"
            notes.append(f"left the {kind} '{visible(thread.name)}' running; nobody waits for it")


class _Beginning(io.RawIOBase):
    """Keeps the first bytes and counts all of them. Later output goes where it was to go."""

    def __init__(self, stream: TextIO | None) -> None:
        self.beginning, self.count, self.over = b"", 0, False
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return super().fileno() if self._stream is None else self._stream.fileno()

    def write(self, data: Any) -> int:
        data = bytes(data)
        if not self.over:
            self.beginning += data[: SHOWN_BYTES - len(self.beginning)]
            self.count += len(data)
        elif self._stream is not None:
            self._stream.write(data.decode("utf-8", "replace"))
        return len(data)


def _captured(stream: TextIO | None) -> tuple[_Beginning, TextIO]:
    raw = _Beginning(stream)
    writer = io.TextIOWrapper(
        io.BufferedWriter(raw), "utf-8", "backslashreplace", write_through=True
    )
    return raw, writer


@contextmanager
def _output_noted(notes: list[str]) -> Iterator[None]:
    """Replace the streams of this process, and note what was written to them."""
    streams = sys.stdin, sys.stdout, sys.stderr
    captured = {name: _captured(getattr(sys, name)) for name in ("stdout", "stderr")}
    for name, (_, stream) in captured.items():
        setattr(sys, name, stream)
    sys.stdin = io.StringIO()
    try:
        yield
    finally:
        for name, (raw, stream) in captured.items():
            if getattr(sys, name) is not stream:
                notes.append(f"replaced sys.{name}, now restored")
            with suppress(ValueError):  # it was closed or detached
                stream.flush()
            if raw.count:
                beginning = visible(raw.beginning.decode("utf-8", "replace"))
                notes.append(f"wrote {raw.count} bytes to {name}, beginning with '{beginning}'")
            raw.over = True
        sys.stdin, sys.stdout, sys.stderr = streams
