"""Choice of the display of progress, where no reporter is set.

``REPSIM_PROGRESS`` decides: ``0`` shows nothing and ``1`` shows it everywhere. Otherwise it is
shown in notebooks and on terminals, and not in pipes, other threads and worker processes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from repsim_energy.errors import visible, warn
from repsim_energy.progress import Progress, Reporter, Work
from repsim_energy.progress.rates import clock_text

__all__ = ["VARIABLE", "automatic_reporter"]

VARIABLE = "REPSIM_PROGRESS"

MIN_LINE_SECONDS = 1.0
"""Duration from which on a piece of work has a line where there are no bars."""


@contextmanager
def automatic_reporter(progress: bool | None = None) -> Iterator[Reporter]:
    """Provide the reporter for this process: bars, lines, or one that shows nothing.

    Parameters
    ----------
    progress : whether to show progress; ``None`` leaves it to ``REPSIM_PROGRESS`` and the place

    Warns
    -----
    RepsimWarning
        If ``REPSIM_PROGRESS`` is neither 0 nor 1. It is then ignored.
    """
    wanted = _asked_for() if progress is None else progress
    aside = threading.current_thread() is not threading.main_thread()
    if wanted is False or (wanted is None and (aside or multiprocessing.parent_process())):
        yield Reporter()
    elif (shell := _notebook()) is not None:
        from repsim_energy.progress.notebook import CellOutput, NotebookBars

        bars = NotebookBars(CellOutput(shell))
        try:
            yield bars
        finally:
            bars.close()
    elif sys.stderr is not None and sys.stderr.isatty():
        from rich.console import Console

        from repsim_energy.progress.bars import LateBars, bars_on

        screen = bars_on(Console(stderr=True))
        try:
            yield LateBars(screen)
        finally:
            screen.stop()
    else:
        yield Lines() if wanted else Reporter()


def _asked_for() -> bool | None:
    """Return the value of the environment variable, ``None`` if it is not set."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        warn(f"got {VARIABLE}={value!r}, expected 0 or 1; it is ignored")
    return {"0": False, "1": True}.get(value)


def _notebook() -> Any:
    """Return the IPython of a Jupyter kernel that this process is, else ``None``."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


class Lines(Reporter):
    """Reporter that prints a line on stderr for each piece of work that lasted a second."""

    def __init__(self) -> None:
        self._starts: dict[str, float] = {}

    def announce(self, text: str) -> None:
        """Print the line."""
        _print(text)

    def progress(self, progress: Progress) -> None:
        """Print a line when the training has ended."""
        if progress.step == progress.steps:
            place = f"[{progress.run}/{progress.runs}]"
            _print(f"{place} {progress.label}: {progress.steps} steps")

    def work(self, work: Work) -> None:
        """Print a line when the piece has ended."""
        now = time.monotonic()
        start = self._starts.setdefault(work.label, now)
        if work.ended:
            del self._starts[work.label]
            if now - start >= MIN_LINE_SECONDS:
                amount = f"{work.done:,} {work.unit}, " if work.unit else ""
                _print(f"{work.label}: {amount}{clock_text(now - start)}")


def _print(text: str) -> None:
    print(visible(text), file=sys.stderr)  # noqa: T201 (asked for)
