"""``repsim report``."""

from __future__ import annotations

import os
from pathlib import Path

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.errors import UsageError, visible

__all__ = ["report"]


@click.command()
@click.argument(
    "results",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RESULT.nc...|FOLDER",
)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="The page to write.",
)
@click.option(
    "--no-figures", is_flag=True, help="Leave out the figures of repsim plot, for a smaller page."
)
def report(results: tuple[Path, ...], output: Path, no_figures: bool) -> None:
    """Write results as one HTML page that needs no network and no other file.

    The page says what was compared and how, with similarities and their null intervals, energy
    profiles, runs, and the commands that make all of it again.

    A folder of repsim reproduce gives the page of the paper, with its published numbers.

    Example: repsim report result.nc -o report.html
    """
    if folders := [result for result in results if os.path.isdir(result)]:
        if len(results) > 1:
            raise UsageError(
                f"got the folder '{folders[0]}' beside {len(results) - 1} more, expected one "
                "folder of repsim reproduce alone; name .nc files in a command of their own"
            )
        if no_figures:
            raise UsageError(
                f"got --no-figures with the folder '{folders[0]}', whose figures are stored; leave "
                "it out"
            )
        lazy.page.write_reproduction(folders[0], output)
    else:
        _write(results, output, no_figures)
    size = output.stat().st_size / 1e6
    click.echo(f"{visible(str(output))}: {size:.2f} MB")


def _write(results: tuple[Path, ...], output: Path, no_figures: bool) -> None:
    """Write the page of results, without opening windows for its figures."""
    if not no_figures:
        lazy.style.check_matplotlib()
        import matplotlib

        matplotlib.use("agg")  # opens no window
    rs.write_report(results, output, figures=not no_figures)
