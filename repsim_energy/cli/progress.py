"""Progress on stderr: a line per training, and bars on a terminal."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task, TaskID
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from repsim_energy.cli.app import say
from repsim_energy.errors import visible
from repsim_energy.progress import Progress, Reporter, Work, reporting, working

__all__ = ["reporter_on_stderr"]

BAR_COLUMNS = 12
"""Width of a bar on the screen."""

REDRAWS_PER_SECOND = 4

MIN_SHOWN_SECONDS = 0.3
"""Time after which a piece of work has a bar."""

PACE_SECONDS, MIN_REPORTS = 30.0, 10
"""The last reports whose rate is shown: those of this time, and at least this number."""


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
        yield Reporter()
        return
    console = Console(stderr=True)
    if not (console.is_terminal and sys.stderr.isatty()):  # FORCE_COLOR makes no terminal of a pipe
        yield _Lines()
        return
    with bars_on(console) as bars:
        shown = _Bars(bars)
        with reporting(shown):
            with working("loading libraries", None, ""):
                importlib.import_module("repsim_energy.comparison")  # with torch, for seconds
            yield shown


def bars_on(console: Console, clock: Callable[[], float] = time.monotonic) -> Bars:
    """Return a display of bars with label, numbers, rate and time left.

    Parameters
    ----------
    clock : returns the time in seconds
    """
    return _Display(
        _Label(table_column=Column()),  # the only column that becomes narrower
        BarColumn(BAR_COLUMNS, table_column=Column(no_wrap=True)),
        _Numbers(table_column=Column(no_wrap=True)),
        console=console,
        get_time=clock,
        transient=True,
        refresh_per_second=REDRAWS_PER_SECOND,
    )


class _Display(Bars):
    """Bars without those of work that ends at once, which would only flicker."""

    def get_renderables(self) -> Iterator[RenderableType]:
        shown = [task for task in self.tasks if (task.elapsed or 0.0) >= MIN_SHOWN_SECONDS]
        yield self.make_tasks_table(shown)


class _Lines(Reporter):
    """Reporter that prints a line per training."""

    def announce(self, text: str) -> None:
        say(text)

    def progress(self, progress: Progress) -> None:
        if progress.step == progress.steps:
            place = f"[{progress.run}/{progress.runs}]"
            say(f"{place} {visible(progress.label)}: {progress.steps} steps")


class _Bars(_Lines):
    """Reporter with a bar for each piece of work and the current training, and lines above them."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._shown: dict[str, tuple[TaskID, Pace]] = {}
        self._training = ""

    def progress(self, progress: Progress) -> None:
        step, steps = progress.step, progress.steps
        label = f"{progress.label} ({progress.run} of {progress.runs})"
        if self._training != label:
            self._remove(self._training)
        self._training = label
        self._show(label, step, steps, "steps")
        if step == steps:
            self._remove(label)
        super().progress(progress)

    def work(self, work: Work) -> None:
        self._show(work.label, work.done, work.total, work.unit)
        if work.ended:
            self._remove(work.label)

    def _show(self, label: str, done: float, total: int | None, unit: str) -> None:
        now = self._bars.get_time()
        if label not in self._shown:
            pace = Pace(now, done)
            task = self._bars.add_task(visible(label), total=total, unit=unit, pace=pace)
            self._shown[label] = task, pace
        task, pace = self._shown[label]
        pace.add(now, done)
        self._bars.update(task, completed=done)

    def _remove(self, label: str) -> None:
        if label in self._shown:
            self._bars.remove_task(self._shown.pop(label)[0])


class Pace:
    """Rate of a piece of work, over the last half minute or the last ten reports.

    It follows changes of the rate, and works for units of any length.

    Parameters
    ----------
    start : time in seconds
    done : units done at that time
    """

    def __init__(self, start: float, done: float) -> None:
        self._reports = deque([(start, done)])

    def add(self, now: float, done: float) -> None:
        """Take note of a report: the time in seconds, and the units done up to then."""
        if done > self._reports[-1][1]:
            self._reports.append((now, done))
        while len(self._reports) > MIN_REPORTS and self._reports[1][0] < now - PACE_SECONDS:
            self._reports.popleft()

    @property
    def rate(self) -> float | None:
        """Units per second; ``None`` before the first report."""
        (start, before), (now, done) = self._reports[0], self._reports[-1]
        return (done - before) / (now - start) if now > start else None

    def seconds_left(self, now: float, total: float) -> float | None:
        """Return the time until everything is done; ``None`` before the first report."""
        reported, done = self._reports[-1]
        if not self.rate:
            return None
        return max(0.0, (total - done) / self.rate - (now - reported))


class _Label(ProgressColumn):
    """Column with the name of the work, cut off where the numbers need its place."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _Numbers(ProgressColumn):
    """Column such as ``12,300/60,000 images, 850/s, 0:56 left``."""

    def render(self, task: Task) -> Text:
        return Text(numbers(task))


def numbers(task: Task) -> str:
    """Return the units done, the rate and the time left of a bar.

    Where the time left is not known, there is the time since the start.
    """
    unit, pace = task.fields["unit"], task.fields["pace"]
    amount = _amount(task.completed, unit)
    if task.total is not None:
        amount = f"{amount}/{_amount(task.total, unit)}"
    parts = [] if not unit else [amount if unit == "bytes" else f"{amount} {unit}"]
    if pace.rate:
        parts.append(_rate(pace.rate, unit))
    left = None if task.total is None else pace.seconds_left(task.get_time(), task.total)
    parts.append(_clock(task.elapsed or 0.0) if left is None else f"{_clock(left)} left")
    return ", ".join(parts)


def _amount(count: float, unit: str) -> str:
    return decimal(int(count)) if unit == "bytes" else f"{int(count):,}"


def _rate(per_second: float, unit: str) -> str:
    """Return a rate per second, minute or hour: the first in which it is at least 1."""
    if unit == "bytes":
        return f"{decimal(int(per_second))}/s"
    spans = (("s", 1), ("min", 60), ("h", 3600))
    span, seconds = next((s for s in spans if per_second * s[1] >= 1), spans[-1])
    value = per_second * seconds
    return f"{value:,.0f}/{span}" if value >= 10 else f"{value:.1f}/{span}"


def _clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
