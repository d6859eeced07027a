"""Progress on stderr: a line per training, and bars on a terminal."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator

from rich.console import Console

from repsim_energy.cli.messages import say
from repsim_energy.errors import visible
from repsim_energy.progress import Progress, Reporter, reporting, showing, working
from repsim_energy.progress.bars import Bars, bars_on

__all__ = ["reporter_on_stderr"]


@contextlib.contextmanager
def reporter_on_stderr(quiet: bool) -> Iterator[Reporter]:
    """Provide a reporter that shows the progress of trainings and of all pieces of work.

    There are a line per training and the estimated duration. On a terminal, each piece of work and
    the current training also have a bar, which vanishes when it ends.

    Parameters
    ----------
    quiet : shows nothing
    """
    if quiet:
        with showing(progress=False) as nothing:
            yield nothing
        return
    console = Console(stderr=True)
    if not (console.is_terminal and sys.stderr.isatty()):  # FORCE_COLOR makes no terminal of a pipe
        yield _Lines()
        return
    with bars_on(console) as screen:
        shown = _LinesAndBars(screen)
        with reporting(shown):
            with working("loading libraries", None, ""):
                importlib.import_module("repsim_energy.comparison")  # with torch, for seconds
            yield shown


class _Lines(Reporter):
    """Reporter that prints a line per training."""

    def announce(self, text: str) -> None:
        say(text)

    def progress(self, progress: Progress) -> None:
        if progress.step == progress.steps:
            place = f"[{progress.run}/{progress.runs}]"
            say(f"{place} {visible(progress.label)}: {progress.steps} steps")


class _LinesAndBars(_Lines, Bars):
    """Reporter with a bar for each piece of work and the current training, and lines above them."""

    def progress(self, progress: Progress) -> None:
        Bars.progress(self, progress)
        _Lines.progress(self, progress)
