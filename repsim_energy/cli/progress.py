"""Progress on stderr: a line per training, and bars on a terminal."""

from __future__ import annotations

import contextlib
import gc
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
        _load_libraries()
        with showing(progress=False) as nothing:
            yield nothing
        return
    console = Console(stderr=True)
    if not (console.is_terminal and sys.stderr.isatty()):  # FORCE_COLOR makes no terminal of a pipe
        _load_libraries()
        yield _Lines()
        return
    with bars_on(console) as screen:
        shown = _LinesAndBars(screen)
        with reporting(shown):
            with working("loading libraries", None, ""):
                _load_libraries()
            yield shown


def _load_libraries() -> None:
    """Import the comparison of networks, with torch and xarray, for seconds.

    Modules are no garbage, and Python takes a seventh of the time to look for some among them.
    """
    begins = "torch" not in sys.modules and gc.isenabled()  # not in a process that has other work
    if begins:
        gc.disable()
    try:
        importlib.import_module("repsim_energy.comparison")
    finally:
        if begins:
            gc.freeze()  # it is not looked at later either
            gc.enable()


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
