"""Progress of the work of this process, and the interface that receives it.

Whatever takes long reports itself with :func:`working`, and does not know who listens. Commands and
``rs.compare`` set the listener with :func:`reporting`. It is stored in a context variable, so other
threads and processes report nothing unless they set one themselves. Where none is set, bars are
shown in notebooks and on terminals (:mod:`repsim_energy.progress.automatic`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from repsim_energy.errors import UsageError

__all__ = ["Advance", "Progress", "Reporter", "Work", "reporting", "showing", "silent", "working"]

MIN_REPORT_SECONDS = 0.1
"""Minimum time between two reports of one piece of work, apart from its first and last."""

Advance = Callable[[float], None]
"""Called with the number of units done since the last call."""


@dataclass(frozen=True)
class Progress:
    """Progress of the trainings of a comparison.

    Parameters
    ----------
    label : of the training
    run : its number, from 1
    runs : the number of trainings
    step : gradient steps that it has taken
    steps : gradient steps that it will take at most

    Examples
    --------
    >>> Progress("vgg11 seed 0", run=1, runs=2, step=60, steps=100).label
    'vgg11 seed 0'
    """

    label: str
    run: int
    runs: int
    step: int
    steps: int


@dataclass(frozen=True)
class Work:
    """Progress of one piece of work, such as reading the images of a folder.

    Parameters
    ----------
    label : what is done, such as ``reading images of photos``. It identifies the piece while it
        lasts; a later piece may have the same label
    done : number of units that are done, 0 in the first report
    total : number of units, or ``None`` if it is not known
    unit : what is counted, in the plural: ``images``, ``bytes``, ``steps``; empty if nothing is
    ended : whether this is the last report of the piece. ``done`` is below ``total`` then if it
        failed or ended early

    Examples
    --------
    >>> work = Work("reading images of photos", done=1200, total=60000, unit="images")
    >>> work.done / work.total, work.ended
    (0.02, False)
    """

    label: str
    done: int
    total: int | None
    unit: str
    ended: bool = False


class Reporter:
    """Receiver of the progress of a comparison.

    This one ignores everything. Override the methods that you need in a subclass.

    Examples
    --------
    >>> class Lines(Reporter):
    ...     def progress(self, progress):
    ...         print(progress.label, progress.step)
    ...
    ...     def work(self, work):
    ...         print(f"{work.label}: {work.done} of {work.total} {work.unit}")
    >>> Lines().progress(Progress("vgg11 seed 0", 1, 2, 60, 60))
    vgg11 seed 0 60
    >>> Lines().work(Work("reading images of photos", 1200, 60000, "images"))
    reading images of photos: 1200 of 60000 images
    """

    @property
    def hears_announcements(self) -> bool:
        """True if a subclass overrides ``announce``; otherwise no duration is estimated."""
        return type(self).announce is not Reporter.announce

    @property
    def hears_work(self) -> bool:
        """True if a subclass overrides ``work``; otherwise pieces of work report nothing."""
        return type(self).work is not Reporter.work

    def announce(self, text: str) -> None:
        """Receive the estimated duration of many trainings, before they start.

        Parameters
        ----------
        text : one line
        """

    def progress(self, progress: Progress) -> None:
        """Receive the progress of a training.

        It is called while the training runs and once when it has ended.

        Parameters
        ----------
        progress : steps so far and in all
        """

    def work(self, work: Work) -> None:
        """Receive the progress of any other piece of work of this process.

        It is called when the piece begins, at most ten times a second while it lasts, and when it
        ends. Pieces can contain others.

        Parameters
        ----------
        work : units so far and in all
        """


_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)
"""Receiver of pieces of work. ``None``: it is chosen when a piece begins."""


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Let a reporter receive all pieces of work inside the ``with`` block.

    One that does not override ``work`` leaves them to an outer reporter. Without an outer one,
    nothing receives them and nothing is shown.
    """
    with _receiving(reporter if reporter.hears_work else _reporter.get() or reporter):
        yield


@contextmanager
def silent() -> Iterator[None]:
    """Let nothing receive the pieces of work inside the ``with`` block, which are parts of one."""
    with _receiving(Reporter()):
        yield


@contextmanager
def _receiving(receiver: Reporter) -> Iterator[None]:
    token = _reporter.set(receiver)
    try:
        yield
    finally:
        _reporter.reset(token)


@contextmanager
def showing(reporter: Reporter | None = None, progress: bool | None = None) -> Iterator[Reporter]:
    """Provide the reporter of a public function, and let it receive all pieces of work.

    Parameters
    ----------
    reporter : of the caller, if it gave one
    progress : whether to show progress; ``None`` leaves it to an outer reporter, or shows bars in
        a notebook and on a terminal

    Raises
    ------
    UsageError
        If both are given.
    """
    if reporter is not None and progress is not None:
        raise UsageError(
            f"got progress={progress} and a reporter, expected one of them; the reporter receives "
            "the progress"
        )
    if reporter is not None:
        with reporting(reporter):
            yield reporter
    else:
        with _own_display(progress) as shown:
            yield shown


@contextmanager
def _own_display(progress: bool | None) -> Iterator[Reporter]:
    """Show all pieces of work, or leave them to an outer reporter if nothing was asked for."""
    if progress is None and _reporter.get() is not None:
        yield Reporter()
        return
    from repsim_energy.progress.automatic import automatic_reporter

    with automatic_reporter(progress) as shown, _receiving(shown):
        yield shown


@contextmanager
def working(label: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Report a piece of work to the reporter of this context; yield a function that advances it.

    Parameters
    ----------
    label, total, unit : as of :class:`Work`

    Examples
    --------
    >>> class Lines(Reporter):
    ...     def work(self, work):
    ...         print(work.done, work.total, work.unit, work.ended)
    >>> with reporting(Lines()), working("reading images", 500, "images") as advance:
    ...     advance(200)
    ...     advance(300)
    0 500 images False
    500 500 images True
    """
    with _own_display(None):
        reporter = _reporter.get()
        if reporter is None or not reporter.hears_work:
            yield _ignore
            return
        piece = _Piece(reporter, label, total, unit)
        try:
            yield piece.advance
        finally:
            piece.report(ended=True)


def _ignore(_: float) -> None:
    """Advance a piece of work that nobody listens to."""


class _Piece:
    """A piece of work that reports itself, not too often."""

    def __init__(self, reporter: Reporter, label: str, total: int | None, unit: str) -> None:
        self._reporter = reporter
        self._label, self._total, self._unit = label, total, unit
        self._done = 0.0
        self.report()

    def advance(self, units: float) -> None:
        """Count units that are done; a part of a unit is less than 1."""
        self._done += units
        if time.monotonic() - self._reported >= MIN_REPORT_SECONDS:
            self.report()

    def report(self, *, ended: bool = False) -> None:
        """Report the whole units that are done."""
        done = int(self._done + 1e-6)  # parts of a unit are rounded when they are added
        if self._total is not None:
            done = min(done, self._total)
        self._reported = time.monotonic()
        self._reporter.work(Work(self._label, done, self._total, self._unit, ended))
