"""Tables and lines on stdout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from repsim_energy.errors import visible

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["format_number", "print_if_it_fits", "print_json", "print_line", "print_rows", "width"]


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def width() -> int | None:
    """Return the width of the terminal in characters, if stdout is one."""
    console = _console()
    return console.width if console.is_terminal else None


def print_line(text: str) -> None:
    """Print a line, which the terminal breaks where it is too long."""
    _console().print(Text(visible(text)), soft_wrap=True)


def print_rows(
    header: list[str], rows: list[list[str]], title: str | None = None, *, numbers: bool = False
) -> None:
    """Print a table below its title.

    Parameters
    ----------
    numbers : whether all columns but the first hold numbers, which are never broken into lines
    """
    if title is not None:
        print_line(title)
    _console().print(_table(header, rows, numbers))


def print_if_it_fits(header: list[str], rows: list[list[str]], title: str | None = None) -> bool:
    """Print a table of numbers below its title if no line of it has to be broken.

    Returns
    -------
    bool
        Whether it was printed.
    """
    console = _console()
    table = _table(header, rows, numbers=True)
    unlimited = console.options.update(width=10_000)
    if console.measure(table, options=unlimited).maximum > console.width:
        return False
    if title is not None:
        print_line(title)
    console.print(table)
    return True


def _table(header: list[str], rows: list[list[str]], numbers: bool) -> Table:
    """Return a table that shows its texts literally, without rich's markup."""
    table = Table()
    for number, name in enumerate(header):
        table.add_column(Text(visible(name)), overflow="fold", no_wrap=numbers and number > 0)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def print_json(result: xr.Dataset) -> None:
    """Print a result as JSON."""
    from repsim_energy.results import to_json  # here, so that other commands start fast

    click.echo(to_json(result))


def format_number(value: float, spread: float = math.nan, digits: int = 3) -> str:
    """Return a number with its standard deviation, if it has one; a dash for NaN."""
    if math.isnan(value):
        return "-"
    return f"{value:.{digits}f}" if math.isnan(spread) else f"{value:.3f} ± {spread:.3f}"
