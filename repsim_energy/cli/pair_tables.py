"""Tables of the similarities of all pairs of models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from repsim_energy.cli.tables import format_number, print_if_it_fits, print_line, width
from repsim_energy.errors import visible

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["print_list", "print_matrix"]

MAX_LISTED = 10
"""Maximum number of pairs that have a row each. More of them are a matrix."""

MAX_COLUMNS = 8
"""Maximum number of columns of a matrix. Larger ones are printed as one half."""


def print_list(summary: xr.Dataset, beyond: xr.Dataset | None, title: str, quantity: str) -> bool:
    """Print a row for each pair of models, if there are few and the terminal is wide enough.

    Parameters
    ----------
    summary : means over seeds, of :func:`repsim_energy.summarize`
    beyond : the same beyond the theory, if it is known
    quantity : similarity or distance

    Returns
    -------
    bool
        Whether it was printed.
    """
    groups = [str(label) for label in summary.group.values]
    pairs = [
        (i, j)
        for i in range(len(groups))
        for j in range(i, len(groups))
        if summary["mean"].notnull().values[i, j]
    ]
    if len(pairs) > MAX_LISTED:
        return False
    columns = {quantity: _means(summary, pairs)}
    if "ci_low" in summary and bool(summary.ci_low.notnull().any()):
        columns["95% interval"] = _intervals(summary, pairs)
    columns["n"] = [str(int(summary.n.values[pair])) for pair in pairs]
    if beyond is not None:
        columns["beyond theory"] = _means(beyond, pairs)
    numbers = [str(number) for number in range(1, len(groups) + 1)]
    for labels in (groups, numbers):
        rows = [
            [labels[i], labels[j], *cells]
            for (i, j), cells in zip(pairs, zip(*columns.values(), strict=True), strict=True)
        ]
        if print_if_it_fits(["", "", *columns], rows, title):
            if labels is numbers:
                _print_legend(groups)
            return True
    return False


def _means(summary: xr.Dataset, pairs: list[tuple[int, int]]) -> list[str]:
    means, spreads = summary["mean"].values, summary["spread"].values
    return [format_number(float(means[pair]), float(spreads[pair])) for pair in pairs]


def _intervals(summary: xr.Dataset, pairs: list[tuple[int, int]]) -> list[str]:
    low, high = summary.ci_low.values, summary.ci_high.values
    return [
        "-" if math.isnan(low[pair]) else f"{low[pair]:.3f} to {high[pair]:.3f}" for pair in pairs
    ]


def print_matrix(summary: xr.Dataset, title: str) -> None:
    """Print the matrix of all pairs in the first form that fits the terminal.

    The forms are: columns titled by the groups; columns titled by numbers with a legend; one half
    of the table without spreads.
    """
    groups = [str(label) for label in summary.group.values]
    means, spreads = summary["mean"].values, summary["spread"].values
    cells = [
        [format_number(float(mean), float(spread)) for mean, spread in zip(*pair, strict=True)]
        for pair in zip(means, spreads, strict=True)
    ]
    numbers = [str(number) for number in range(1, len(groups) + 1)]
    for labels in (groups, numbers) if len(groups) <= MAX_COLUMNS else ():
        rows = [[label, *row] for label, row in zip(labels, cells, strict=True)]
        if print_if_it_fits(["", *labels], rows, title):
            if labels is numbers:
                _print_legend(groups)
            return
    _print_triangle(groups, means, title, width())


def _print_legend(groups: list[str]) -> None:
    for number, group in enumerate(groups, 1):
        print_line(f"{number:>3} {group}")


def _print_triangle(
    groups: list[str], values: NDArray[np.float64], title: str, most: int | None
) -> None:
    """Print one half of a symmetric table with numbered rows and columns.

    Parameters
    ----------
    most : width of the terminal in characters, if it is one; names of rows that do not fit are
        printed below the table
    """
    groups = [visible(group) for group in groups]
    longest = max(len(group) for group in groups)
    numbers_alone = 4 + 6 * len(groups)
    legend = most is not None and numbers_alone <= most < numbers_alone + longest
    indent = 0 if legend else longest
    lines = [title, " " * (indent + 4) + "".join(f"{j:>6}" for j in range(1, len(groups) + 1))]
    for i, group in enumerate(groups):
        numbers = (f"{format_number(float(value), digits=2):>6}" for value in values[i, : i + 1])
        lines.append(f"{i + 1:>3} {'' if legend else group:<{indent}}" + "".join(numbers))
    for line in lines:
        print_line(line)
    if legend:
        _print_legend(groups)
