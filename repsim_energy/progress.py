"""Progress reports of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Reporter"]


@dataclass(frozen=True)
class Progress:
    """Progress of a sweep: step ``step`` of ``steps`` of training ``run`` of ``runs``."""

    label: str
    run: int
    runs: int
    step: int
    steps: int


class Reporter:
    """Receiver of progress reports that ignores them. Override the methods that you need.

    Examples
    --------
    >>> class Lines(Reporter):
    ...     def progress(self, progress):
    ...         print(progress.label, progress.step)
    >>> Lines().progress(Progress("vgg11 seed 0", 1, 2, 60, 60))
    vgg11 seed 0 60
    """

    @property
    def hears_announcements(self) -> bool:
        """Whether ``announce`` is overridden. If not, no estimate is measured."""
        return type(self).announce is not Reporter.announce

    def announce(self, text: str) -> None:
        """Receive a line with the estimated duration of a long sweep before it starts."""

    def progress(self, progress: Progress) -> None:
        """Receive the progress of a training, and its end."""
