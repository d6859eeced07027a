"""Rate of a piece of work, the time that it has left, and their text."""

from __future__ import annotations

from collections import deque

from rich.filesize import decimal

__all__ = ["Pace", "clock_text", "numbers_of"]

PACE_SECONDS, MIN_REPORTS = 30.0, 10
"""The last reports whose rate is shown: those of this time, and at least this number."""


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


def numbers_of(
    done: float, total: float | None, unit: str, pace: Pace, now: float, elapsed: float
) -> str:
    """Return the units done, the rate and the time left of a piece of work.

    Where the time left is not known, there is the time since the start.

    Parameters
    ----------
    done, total, unit : as of :class:`~repsim_energy.progress.Work`
    pace : of its reports
    now, elapsed : time, and time since the start, in seconds

    Examples
    --------
    >>> pace = Pace(0.0, 0)
    >>> pace.add(10.0, 12_300)
    >>> numbers_of(12_300, 60_000, "images", pace, 10.0, 10.0)
    '12,300/60,000 images, 1,230/s, 0:39 left'
    """
    amount = _amount(done, unit)
    if total is not None:
        amount = f"{amount}/{_amount(total, unit)}"
    parts = [] if not unit else [amount if unit == "bytes" else f"{amount} {unit}"]
    if pace.rate:
        parts.append(_rate(pace.rate, unit))
    left = None if total is None else pace.seconds_left(now, total)
    parts.append(clock_text(elapsed) if left is None else f"{clock_text(left)} left")
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


def clock_text(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
