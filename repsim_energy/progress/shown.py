"""Base of the displays: the training and the pieces of work that are under way."""

from __future__ import annotations

from repsim_energy.progress import Progress, Reporter, Work

__all__ = ["MIN_SHOWN_SECONDS", "Display"]

MIN_SHOWN_SECONDS = 0.3
"""Time after which a piece of work is shown."""


class Display(Reporter):
    """Reporter that shows each piece of work, and the current training, until they end.

    Subclasses define ``show`` and ``remove``.
    """

    _training = ""

    def progress(self, progress: Progress) -> None:
        """Show the training instead of the one before."""
        step, steps = progress.step, progress.steps
        label = f"{progress.label} ({progress.run} of {progress.runs})"
        if self._training != label:
            self.remove(self._training)
        self._training = label
        self.show(label, step, steps, "steps")
        if step == steps:
            self.remove(label)

    def work(self, work: Work) -> None:
        """Show the piece of work."""
        self.show(work.label, work.done, work.total, work.unit)
        if work.ended:
            self.remove(work.label)

    def show(self, label: str, done: float, total: int | None, unit: str) -> None:
        """Show a piece of work, which may be new."""
        raise NotImplementedError

    def remove(self, label: str) -> None:
        """Show a piece of work no longer; ignore a label that is not shown."""
        raise NotImplementedError
