"""Progress on stderr: a bar on a terminal, a line per training elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from repsim_energy.cli import lazy
from repsim_energy.cli.app import say
from repsim_energy.errors import visible
from repsim_energy.progress import Progress, Reporter

__all__ = ["reporter_on_stderr"]


@contextlib.contextmanager
def reporter_on_stderr(quiet: bool) -> Iterator[Reporter]:
    """Provide a reporter that shows the progress of training and of reading images.

    Parameters
    ----------
    quiet : shows nothing
    """
    console = Console(stderr=True)
    if quiet:
        yield Reporter()
        return
    if not console.is_terminal:
        with lazy.pictures.watched(_pictures_line):
            yield _Lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=console) as bars:
            shown = _Bars(bars)
            with lazy.pictures.watched(shown.pictures):
                yield shown


class _Lines(Reporter):
    """Reporter that prints a line per training."""

    def announce(self, text: str) -> None:
        say(text)

    def progress(self, progress: Progress) -> None:
        if progress.step == progress.steps:
            place = f"[{progress.run}/{progress.runs}]"
            say(f"{place} {visible(progress.label)}: {progress.steps} steps")


def _pictures_line(done: int, pictures: int) -> None:
    if done == pictures:
        say(f"{pictures} pictures read")


class _Bars(_Lines):
    """Reporter with a bar for the images, for the current training, and for all trainings."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._all = bars.add_task("all runs", total=None)
        self._run = bars.add_task("", total=None)
        self._reading: list[TaskID] = []

    def pictures(self, done: int, pictures: int) -> None:
        """Show the number of images that were read."""
        if not self._reading:
            self._reading.append(self._bars.add_task("pictures"))
        self._bars.update(self._reading[0], total=pictures, completed=done)

    def progress(self, progress: Progress) -> None:
        run, runs = progress.run, progress.runs
        share = progress.step / progress.steps
        self._bars.update(self._all, total=runs, completed=run - 1 + share)
        description = f"{visible(progress.label)} ({run} of {runs})"
        if self._bars.tasks[self._run].description != description:
            self._bars.reset(self._run, description=description)
        self._bars.update(self._run, total=progress.steps, completed=progress.step)
