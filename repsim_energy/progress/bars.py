"""Bars on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Screen
from rich.table import Column
from rich.text import Text

from repsim_energy.errors import visible
from repsim_energy.progress.rates import Pace, numbers_of
from repsim_energy.progress.shown import MIN_SHOWN_SECONDS, Display

__all__ = ["Bars", "LateBars", "bars_on", "numbers"]

BAR_COLUMNS = 12
"""Width of a bar on the screen."""

REDRAWS_PER_SECOND = 4


def bars_on(console: Console, clock: Callable[[], float] = time.monotonic) -> Screen:
    """Return a display of bars with label, numbers, rate and time left.

    Parameters
    ----------
    clock : returns the time in seconds
    """
    return _Screen(
        _Label(table_column=Column()),  # the only column that becomes narrower
        BarColumn(BAR_COLUMNS, table_column=Column(no_wrap=True)),
        _Numbers(table_column=Column(no_wrap=True)),
        console=console,
        get_time=clock,
        transient=True,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # a file gets all output
        refresh_per_second=REDRAWS_PER_SECOND,
    )


class _Screen(Screen):
    """Bars without those of work that ends at once, which would only flicker."""

    def get_renderables(self) -> Iterator[RenderableType]:
        shown = [task for task in self.tasks if (task.elapsed or 0.0) >= MIN_SHOWN_SECONDS]
        yield self.make_tasks_table(shown)


class Bars(Display):
    """Display with a bar for each piece of work.

    Parameters
    ----------
    screen : where they are drawn, see :func:`bars_on`
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._shown: dict[str, tuple[TaskID, Pace]] = {}

    def show(self, label: str, done: float, total: int | None, unit: str) -> None:
        """Draw the bar of a piece of work."""
        now = self.screen.get_time()
        if label not in self._shown:
            pace = Pace(now, done)
            task = self.screen.add_task(visible(label), total=total, unit=unit, pace=pace)
            self._shown[label] = task, pace
        task, pace = self._shown[label]
        pace.add(now, done)
        self.screen.update(task, completed=done)

    def remove(self, label: str) -> None:
        """Remove the bar of a piece of work."""
        if label in self._shown:
            self.screen.remove_task(self._shown.pop(label)[0])


class LateBars(Bars):
    """Bars of a script: nothing is written to the terminal before work has lasted for a moment."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        self._begun = screen.get_time()

    def announce(self, text: str) -> None:
        """Print a line, which stays."""
        self.screen.console.print(text, markup=False, highlight=False)

    def show(self, label: str, done: float, total: int | None, unit: str) -> None:
        """Draw the bar of a piece of work, if there has been work for a moment."""
        super().show(label, done, total, unit)
        if self.screen.get_time() - self._begun >= MIN_SHOWN_SECONDS:
            self.screen.start()


class _Label(ProgressColumn):
    """Column with the name of the work, cut off where the numbers need its place."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Numbers(ProgressColumn):
    """Column such as ``12,300/60,000 images, 850/s, 0:56 left``."""

    def render(self, task: Task) -> Text:
        return Text(numbers(task))


def numbers(task: Task) -> str:
    """Return the units done, the rate and the time left of a bar."""
    unit, pace = task.fields["unit"], task.fields["pace"]
    return numbers_of(task.completed, task.total, unit, pace, task.get_time(), task.elapsed or 0.0)
