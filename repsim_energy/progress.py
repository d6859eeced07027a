"""How far a comparison is, and who is told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Reporter"]


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: step ``step`` of ``steps`` of training ``run`` of ``runs``."""

    label: str
    run: int
    runs: int
    step: int
    steps: int


class Reporter:
    """Hears how far a comparison is, and does nothing. Override what you want to hear.

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
        """Whether ``announce`` does anything; where it does not, no estimate is measured."""
        return type(self).announce is not Reporter.announce

    def announce(self, text: str) -> None:
        """Hear how long a long sweep will take, in a line, before it starts."""

    def progress(self, progress: Progress) -> None:
        """Hear how far a training is, and that it has ended."""
