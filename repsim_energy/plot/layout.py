"""Axes, panels, titles and legends that fit the size of a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from repsim_energy.errors import UsageError
from repsim_energy.plot.labels import columns_of, label_of
from repsim_energy.plot.style import check_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Panels",
    "add_legend",
    "axes_or_new",
    "characters_in",
    "inches_of",
    "run_layout",
    "is_narrow",
    "panels",
    "points",
    "set_labels",
    "set_title",
    "text_width",
]

NARROW_INCHES = 3.5
"""Width of axes below which texts are smaller and the legend is above the axes."""

NARROW_SCALE = 0.8
"""Size of texts in narrow axes, relative to others."""

CHARACTER_WIDTH = 0.56
"""Mean width of a character, relative to the size of its text."""

MAX_LEGEND_ROWS = 24
"""Rows of a legend beside the axes. More entries are in further columns."""

MAX_PASSES = 5
"""Maximum number of layouts of a figure, each with the sizes of the one before."""

LAYOUT_TOLERANCE_INCHES = 0.005
"""Change of the size of axes below which their layout is final."""

PANEL_POINTS = 8.0
"""Size of the title of a panel."""


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


def inches_of(ax: Axes) -> tuple[float, float]:
    """Return the present width and height of axes in inches. The layout can change them."""
    box = ax.get_window_extent()
    figure: Any = ax.figure
    dpi = float(figure.dpi)
    return float(box.width / dpi), float(box.height / dpi)


def is_narrow(ax: Axes) -> bool:
    """Return whether axes have the width of one column of a paper."""
    return inches_of(ax)[0] < NARROW_INCHES


def run_layout(ax: Axes) -> None:
    """Run the layout of a figure, if it has one, so that the size of its axes is final.

    The constrained layout needs several passes for axes of equal aspect.
    """
    figure: Any = ax.figure
    root = figure.canvas.figure
    ax.apply_aspect()
    if (engine := root.get_layout_engine()) is None:
        return
    size = (0.0, 0.0)
    for _ in range(MAX_PASSES):
        engine.execute(root)
        ax.apply_aspect()
        before, size = size, inches_of(ax)
        if max(abs(size[0] - before[0]), abs(size[1] - before[1])) < LAYOUT_TOLERANCE_INCHES:
            return


def points(ax: Axes, size: float) -> float:
    """Return a size in points scaled to the setting ``font.size``, and smaller in narrow axes.

    Parameters
    ----------
    size : in wide axes, with the default of ``font.size``
    """
    from matplotlib import rcParams

    default = float(rcParams["font.size"]) / 10
    return size * default * (NARROW_SCALE if is_narrow(ax) else 1.0)


def text_width(texts: Sequence[str], size: float) -> float:
    """Return the approximate width of the longest text in inches.

    Parameters
    ----------
    size : of the texts in points
    """
    return max(map(columns_of, map(str, texts)), default=0) * CHARACTER_WIDTH * size / 72


def characters_in(inches: float, size: float) -> int:
    """Return the number of characters of a size in points that fit a width, at least 5."""
    return max(5, int(inches * 72 / (CHARACTER_WIDTH * size)))


class Panels(NamedTuple):
    """Axes of equal size inside other axes, row by row.

    Parameters
    ----------
    places : the panels
    columns : panels in a row
    """

    places: list[Axes]
    columns: int

    @property
    def labeled_row(self) -> int:
        """The row in the middle, whose labels of the vertical axes are those of all rows."""
        return ((len(self.places) - 1) // self.columns) // 2

    def is_left(self, number: int) -> bool:
        """Return whether a panel is the first of its row."""
        return number % self.columns == 0

    def is_right(self, number: int) -> bool:
        """Return whether a panel is the last of its row."""
        return number % self.columns == self.columns - 1 or number == len(self.places) - 1

    def is_bottom(self, number: int) -> bool:
        """Return whether there is no panel below this one."""
        return number + self.columns >= len(self.places)

    def in_labeled_row(self, number: int) -> bool:
        """Return whether a panel is in the row with the labels of the vertical axes."""
        return number // self.columns == self.labeled_row


def panels(
    ax: Axes, count: int, most: int, *, gaps: tuple[float, float], shape: float = 1.0
) -> Panels:
    """Return panels inside axes, and hide the frame of these axes.

    The number of columns is the one with the largest panels.

    Parameters
    ----------
    most : panels in a row
    gaps : inches between columns, and above each row for its titles
    shape : width of a panel, relative to its height
    """
    ax.set_axis_off()
    wide, high = inches_of(ax)

    def size_of(columns: int) -> tuple[float, float, int]:
        rows = -(-count // columns)
        across = wide / columns - gaps[0] * (columns - 1) / columns
        return min(across / shape, high / rows - gaps[1]), across, columns

    columns = max(map(size_of, range(1, min(most, count) + 1)))[-1]
    rows = -(-count // columns)
    gap = min(gaps[0] / wide, 0.5 / columns)
    top = min(gaps[1] / high, 0.5 / rows)
    across, down = (1 - (columns - 1) * gap) / columns, 1 / rows - top
    made = Panels([], columns)
    for number in range(count):
        row, column = divmod(number, columns)
        left, bottom = column * (across + gap), 1 - (row + 1) * (down + top)
        made.places.append(ax.inset_axes((left, bottom, across, down)))
    for number, place in enumerate(made.places):
        edge = made.is_left(number) or made.is_right(number) or made.is_bottom(number)
        place.set_in_layout(edge)  # others need no space outside of the axes: layout is faster
    return made


def set_title(ax: Axes, text: str, *, pad: float = 0.0) -> None:
    """Set the title of axes, broken into lines of their width.

    Parameters
    ----------
    pad : points between the axes and the title for what is between them, such as a legend
    """
    size = points(ax, 10)
    ax.set_title(_wrapped(text, inches_of(ax)[0], size), fontsize=size, pad=6 + pad, y=1.0)


def set_labels(ax: Axes, x: str = "", y: str = "") -> None:
    """Label both axes, with texts and numbers of the size for the width of the axes."""
    size, (wide, high) = points(ax, 10), inches_of(ax)
    ax.set_xlabel(_wrapped(x, 0.75 * wide, size), fontsize=size)
    ax.set_ylabel(_wrapped(y, high, size), fontsize=size)
    ax.tick_params(labelsize=points(ax, 9))


def _wrapped(text: str, inches: float, size: float) -> str:
    """Return a text in lines of a width, at least 34 characters."""
    characters = max(34, characters_in(inches, size))
    lines = textwrap.wrap(text, characters, break_on_hyphens=False)
    return "\n".join(map(label_of, lines))


def add_legend(
    ax: Axes, handles: Sequence[Any], labels: Sequence[str], *, where: str = "beside"
) -> float:
    """Draw a legend, and return the points that it needs between the axes and their title.

    Labels that begin with an underscore are shown, too.

    Parameters
    ----------
    where : ``beside`` the axes, ``inside`` their upper right corner, or ``above`` them. In narrow
        axes every legend is above
    """
    if not handles:
        return 0.0
    size = points(ax, 8.5)
    where = "above" if is_narrow(ax) else where
    columns = -(-len(handles) // MAX_LEGEND_ROWS)
    if where == "above":
        entry = text_width(labels, size) + 4.5 * size / 72
        columns = min(len(handles), max(1, int(1.1 * inches_of(ax)[0] / entry)))
    places: dict[str, Any] = {"inside": "upper right", "beside": "upper left"}
    legend = ax.legend(
        list(handles),
        [str(number) for number in range(len(handles))],
        loc=places.get(where, "lower center"),
        bbox_to_anchor=(0.5 if where == "above" else 1.0, 1.0),
        fontsize=size,
        frameon=False,
        ncols=columns,
        handlelength=2.5 if where == "above" else 3,
        columnspacing=1,
        borderaxespad=0.2 if where == "above" else 0.5,
    )
    for entry_text, label in zip(legend.get_texts(), labels, strict=True):
        entry_text.set_text(label_of(label))
    rows = -(-len(handles) // columns)
    return (1.5 * rows + 0.6) * size if where == "above" else 0.0
