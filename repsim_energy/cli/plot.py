"""``repsim plot``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli import lazy
from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.files.storage import check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot"]


@click.command()
@click.argument("path", metavar="RESULT.nc", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    metavar="KIND",
    help="Figure to draw: profiles, residuals, similarity, intervals, fit, filters, components, "
    "trajectory or spectrum.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE.svg|.png|.pdf",
    help="Write the figure; the suffix decides the format.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the numbers of the figure as CSV.")
@click.option("--group", help="Group of a file with several results, as of repsim reproduce.")
@click.option(
    "--stage",
    metavar="init|trained|change",
    help="Stage to draw. [default: the stage that was compared]",
)
@click.option(
    "--order",
    metavar="given|cluster",
    help="Order of models in the kind similarity. [default: given]",
)
@click.option(
    "--of",
    metavar="similarity|beyond_theory",
    help="Numbers of the kind similarity. [default: similarity]",
)
def plot(
    path: Path,
    kind: str | None,
    output: Path | None,
    as_csv: bool,
    group: str | None,
    **options: str | None,
) -> None:
    """Draw a figure of a stored result.

    Example: repsim plot result.nc --kind profiles -o profiles.svg
    """
    if output is None and not as_csv:
        raise UsageError(
            "got no output, expected -o with a file such as profiles.svg, or --csv for the numbers"
        )
    if output is not None:
        lazy.style.check_suffix(output)
        lazy.style.check_matplotlib()
        check_writable(output)
    result = rs.open_result(path, group)
    chosen = _kind(result, kind, path)
    given = {name: value for name, value in options.items() if value is not None}
    if output is not None:
        _write(result, chosen, output, given)
    if as_csv:
        table = _called(chosen, lazy.kinds.KINDS[chosen].table, result, given)
        click.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)


def _kind(result: xr.Dataset, kind: str | None, path: Path) -> str:
    """Return the kind of figure, after checking that the result has what it needs."""
    known, possible = lazy.kinds.KINDS, lazy.kinds.kinds_of(result)
    listed = ", ".join(possible) or "no figure"
    if kind is None:
        raise UsageError(f"got no kind of figure, expected --kind with one of {listed}")
    if kind not in known:
        raise unknown_name("kind of figure", kind, known)
    if kind not in possible:
        raise UsageError(
            f"'{path}' has no {known[kind].needs} to draw as {kind}; the kinds of this result are "
            f"{listed}"
        )
    return kind


def _write(result: xr.Dataset, kind: str, output: Path, options: dict[str, str]) -> None:
    """Draw a figure and write it. The figure belongs to no window."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    ax = _called(kind, lazy.kinds.KINDS[kind].draw, result, options)
    try:
        lazy.style.write_figure(ax.figure, output, dpi=150)
    finally:
        plt.close(ax.figure)


def _called(kind: str, function: Any, result: xr.Dataset, options: dict[str, str]) -> Any:
    """Call a function of a kind of figure. Options that only other kinds have are refused."""
    drawn = inspect.signature(lazy.kinds.KINDS[kind].draw).parameters
    for name in options:
        if name not in drawn:
            raise UsageError(f"got --{name}, which the figure {kind} does not have; leave it out")
    taken = inspect.signature(function).parameters
    return function(result, **{name: value for name, value in options.items() if name in taken})
