"""Progress on stderr: a bar with the time left on a terminal, a line per run elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from repsim_energy.cli.app import say
from repsim_energy.errors import visible

if TYPE_CHECKING:
    from repsim_energy.comparison import Step

__all__ = ["announce_on_stderr", "progress_on_stderr"]


@contextlib.contextmanager
def progress_on_stderr(quiet: bool) -> Iterator[Callable[[Step], None] | None]:
    """Give a function that shows each step of a training; ``None`` when quiet.

    Pictures that are read meanwhile are shown too.
    """
    from repsim_energy.data.pictures import watched

    console = Console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:
        with watched(_pictures_line):
            yield _line
    else:
        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console) as progress:
            bars = _Bars(progress)
            with watched(bars.pictures):
                yield bars


def announce_on_stderr(quiet: bool) -> Callable[[str], None] | None:
    """Return a function that prints a line; ``None`` when quiet."""
    return None if quiet else say


def _line(step: Step) -> None:
    if step.step == step.steps:
        say(f"[{step.run}/{step.runs}] {visible(step.label)}: {_steps(step)}")


def _pictures_line(done: int, pictures: int) -> None:
    if done == pictures:
        say(f"{pictures} pictures read")


def _steps(step: Step) -> str:
    return "done" if step.steps == 1 else f"{step.steps} steps"


class _Bars:
    """One bar for the run at hand and one for all runs; before them one for pictures."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._all = bars.add_task("all runs", total=None)
        self._run = bars.add_task("", total=None)
        self._reading: list[TaskID] = []

    def pictures(self, done: int, pictures: int) -> None:
        """Show how many of so many pictures have been read."""
        if not self._reading:
            self._reading.append(self._bars.add_task("pictures"))
        self._bars.update(self._reading[0], total=pictures, completed=done)

    def __call__(self, step: Step) -> None:
        self._bars.update(
            self._all, total=step.runs, completed=step.run - 1 + step.step / step.steps
        )
        description = f"{visible(step.label)} ({step.run} of {step.runs})"
        if self._bars.tasks[self._run].description != description:
            self._bars.reset(self._run, description=description)
        self._bars.update(self._run, total=step.steps, completed=step.step)
