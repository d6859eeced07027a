"""Axes, colors, texts and files of figures. They need matplotlib, the extra ``plot``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.errors import UsageError, visible
from repsim_energy.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "COLORS",
    "REFERENCE",
    "SUFFIXES",
    "add_legend",
    "axes_or_new",
    "check_suffix",
    "check_matplotlib",
    "image_of",
    "label_of",
    "line_style",
    "panels",
    "set_title",
    "width_of",
    "write_figure",
]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito (2008) without yellow, which is lost on white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (4, 1, 1, 1)), (0, (1, 1)))

REFERENCE = "#777777"
"""Color of what curves are compared with, such as the initialization."""

SUFFIXES = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
    ".png": {},
}
"""Suffix of a figure -> metadata with which equal figures give equal files."""


def check_matplotlib() -> None:
    """Raise ``UsageError`` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "figures need matplotlib, which is not installed; pip install 'repsim-energy[plot]'"
        ) from error


def axes_or_new(ax: Axes | None, inches: tuple[float, float]) -> Axes:
    """Return the axes that are given, or those of a new figure of this width and height.

    Raises
    ------
    UsageError
        If matplotlib is not installed, or ``ax`` is something else than its axes.
    """
    check_matplotlib()
    from matplotlib.axes import Axes

    if isinstance(ax, Axes):
        return ax
    if ax is not None:
        raise UsageError(
            f"got ax of type {type(ax).__name__}, expected matplotlib axes, such as the second "
            "value of plt.subplots(); leave it out for a new figure"
        )
    import matplotlib.pyplot as plt

    new: Axes = plt.subplots(figsize=inches, layout="constrained")[1]
    return new


def panels(ax: Axes, count: int, columns: int, *, gaps: tuple[float, float]) -> list[Axes]:
    """Return axes of equal size inside others, row by row, and hide the frame of the others.

    Parameters
    ----------
    gaps : between columns and between rows, relative to the size of a panel
    """
    ax.set_axis_off()
    across = min(columns, count)
    down = -(-count // across)
    width = 1 / (across + (across - 1) * gaps[0])
    height = 1 / (down + (down - 1) * gaps[1])
    places = (divmod(number, across) for number in range(count))
    return [
        ax.inset_axes(
            (
                column * width * (1 + gaps[0]),
                1 - height - row * height * (1 + gaps[1]),
                width,
                height,
            )
        )
        for row, column in places
    ]


def line_style(number: int) -> dict[str, Any]:
    """Return color, marker and dashes of a curve, each combination once for 343 curves.

    The first seven differ in all three, so that they are distinct in gray, too.
    """
    count = len(COLORS)
    return {
        "color": COLORS[number % count],
        "marker": MARKERS[(number + number // count) % count],
        "linestyle": DASHES[(number + number // count**2) % count],
    }


def label_of(text: object) -> str:
    r"""Return a text as matplotlib shows it literally, without mathematics.

    Examples
    --------
    >>> print(label_of("a$b$"))
    a\$b\$
    """
    return visible(str(text)).replace("$", r"\$")


def set_title(ax: Axes, text: str, *, pad: float = 8.0) -> None:
    """Set the title of a figure, broken into lines of the width of the figure."""
    figure: Any = ax.figure
    characters = max(20, int(figure.get_figwidth() * 11))
    lines = [label_of(line) for line in textwrap.wrap(text, characters)]
    ax.set_title("\n".join(lines), fontsize=10, pad=pad)


def width_of(names: Sequence[str]) -> float:
    """Return the width of the longest name in inches, about."""
    return 0.075 * max(map(len, map(str, names)), default=0)


def add_legend(
    ax: Axes, handles: Sequence[Any], labels: Sequence[str], *, inside: bool = False
) -> None:
    """Draw a legend beside the axes, or in their upper right corner.

    Labels that begin with an underscore are shown, too.
    """
    if not handles:
        return
    columns = -(-len(handles) // 24)
    legend = ax.legend(
        list(handles),
        [str(number) for number in range(len(handles))],
        loc="upper right" if inside else "upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize="small",
        frameon=False,
        ncols=columns,
        handlelength=3,
    )
    for entry, label in zip(legend.get_texts(), labels, strict=True):
        entry.set_text(label_of(label))


def image_of(patch: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Return weights as an RGB image (h, w, 3) between 0 and 1, with 0 as medium gray.

    Parameters
    ----------
    patch : (c, h, w); of three channels in color, of others the channel with the most energy
    limit : absolute weight that is drawn as black (negative) or white (positive)
    """
    if len(patch) != 3:
        strongest = int(np.square(patch).sum((1, 2)).argmax())
        patch = np.repeat(patch[strongest : strongest + 1], 3, axis=0)
    scaled = 0.5 + patch / (2 * limit if limit > 0 else 1.0)
    image: NDArray[np.float64] = np.clip(scaled, 0, 1).transpose(1, 2, 0)
    return image


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Write a figure in the format of its suffix. Equal figures give equal bytes.

    Parameters
    ----------
    options : of matplotlib's ``savefig``, such as ``dpi``

    Raises
    ------
    UsageError
        For another suffix than svg, png and pdf.
    """
    check_suffix(path)
    from matplotlib import rc_context

    suffix = path.suffix.lower()
    with rc_context({"svg.hashsalt": "repsim-energy"}), atomic_path(path) as temporary:
        figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix], **options)


def check_suffix(path: Path) -> None:
    """Raise ``UsageError`` for a file that is no svg, png or pdf."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"got the figure '{path}', expected a name that ends in {', '.join(SUFFIXES)}"
        )
