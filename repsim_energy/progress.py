"""Progress of a comparison, and the interface that receives it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Reporter"]


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


class Reporter:
    """Receiver of the progress of a comparison.

    This one ignores everything. Override the methods that you need in a subclass.

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
        """True if a subclass overrides ``announce``; otherwise no duration is estimated."""
        return type(self).announce is not Reporter.announce

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
