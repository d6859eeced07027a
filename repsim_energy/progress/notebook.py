"""Bars below a cell of a notebook.

They are one output of HTML per cell, which is drawn anew in place and is empty in the end, so that
saved notebooks contain none of them. No widgets are needed.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repsim_energy.errors import visible
from repsim_energy.progress.rates import Pace, numbers_of
from repsim_energy.progress.shown import MIN_SHOWN_SECONDS, Display

__all__ = ["NotebookBars"]

MIN_REDRAW_SECONDS = 0.25
"""Minimum time between two drawings, which all travel from the kernel to the browser."""


@dataclass
class _Piece:
    """A piece of work that is under way."""

    start: float
    pace: Pace
    done: float
    total: int | None
    unit: str


class NotebookBars(Display):
    """Display with a bar for each piece of work, below the cell of a notebook that runs.

    Parameters
    ----------
    draw : called with the HTML and the text to show, which replace those of the last call
    clock : returns the time in seconds
    """

    def __init__(
        self, draw: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._draw, self._clock = draw, clock
        self._pieces: dict[str, _Piece] = {}
        self._announced: list[str] = []
        self._drawn: float | None = None

    def announce(self, text: str) -> None:
        """Show a line above the bars until the end."""
        self._announced.append(text)

    def show(self, label: str, done: float, total: int | None, unit: str) -> None:
        """Draw the bar of a piece of work."""
        now = self._clock()
        if label not in self._pieces:
            self._pieces[label] = _Piece(now, Pace(now, done), done, total, unit)
        piece = self._pieces[label]
        piece.pace.add(now, done)
        piece.done = done
        if self._drawn is None or now - self._drawn >= MIN_REDRAW_SECONDS:
            self._redraw(now)

    def remove(self, label: str) -> None:
        """Remove the bar of a piece of work, at the next drawing."""
        self._pieces.pop(label, None)

    def close(self) -> None:
        """Leave nothing on the page."""
        if self._drawn is not None:
            self._draw("", "")

    def _redraw(self, now: float) -> None:
        shown = {
            visible(label): piece
            for label, piece in self._pieces.items()
            if now - piece.start >= MIN_SHOWN_SECONDS
        }
        if not shown:
            return
        self._drawn = now
        numbers = {
            label: numbers_of(one.done, one.total, one.unit, one.pace, now, now - one.start)
            for label, one in shown.items()
        }
        lines = [visible(line) for line in self._announced]
        text = [*lines, *(f"{label}: {numbers[label]}" for label in shown)]
        rows = [
            f"<div>{_bar(one)} {html.escape(label)}: {html.escape(numbers[label])}</div>"
            for label, one in shown.items()
        ]
        above = [f"<div>{html.escape(line)}</div>" for line in lines]
        self._draw("".join([*above, *rows]), "\n".join(text))


def _bar(piece: _Piece) -> str:
    """Return a bar as HTML, which moves to and fro if the end is not known."""
    if not piece.total:
        return '<progress aria-label="progress"></progress>'
    return f'<progress aria-label="progress" value="{piece.done:g}" max="{piece.total}"></progress>'


class CellOutput:
    """The output of bars below a cell. Those of one cell share it.

    Parameters
    ----------
    shell : the running IPython
    """

    _cell: tuple[int, Any] = (-1, None)

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def __call__(self, page: str, text: str) -> None:
        """Replace the output by HTML, and by text where HTML is not shown."""
        from IPython.display import display

        data = {"text/html": page, "text/plain": text}
        number = self._shell.execution_count
        shown, handle = CellOutput._cell
        if shown == number:
            handle.update(data, raw=True)
        else:
            CellOutput._cell = number, display(data, raw=True, display_id=True)
