"""Colors, images and files of figures. They need matplotlib, the extra ``plot``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.errors import UsageError, not_installed
from repsim_energy.files.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "COLORS",
    "REFERENCE",
    "SUFFIXES",
    "background",
    "check_matplotlib",
    "check_suffix",
    "foreground",
    "image_of",
    "line_style",
    "palette",
    "write_figure",
]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Palette of Okabe and Ito (2008) without yellow, which is lost on white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1)), (0, (4, 1, 1, 1)), (0, (1, 1)))

REFERENCE = "#777777"
"""Color of references, such as the initialization."""

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
        raise not_installed("figures need matplotlib", "plot") from error


def palette() -> tuple[str, ...]:
    """Return the colors of curves: those of the setting ``axes.prop_cycle``, or ``COLORS``.

    The setting counts if it is not the default of matplotlib.
    """
    from matplotlib import rcParams, rcParamsDefault

    cycle = rcParams["axes.prop_cycle"]
    if cycle == rcParamsDefault["axes.prop_cycle"]:
        return COLORS
    return tuple(cycle.by_key().get("color", COLORS))


def foreground() -> Any:
    """Return the color of texts, for marks that belong to no curve."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def background() -> Any:
    """Return the color of the paper, for the inside of open markers."""
    from matplotlib import rcParams

    return rcParams["axes.facecolor"]


def line_style(number: int) -> dict[str, Any]:
    """Return color, marker and dashes of a curve, each combination once for 343 curves.

    The first seven differ in all three, so that they are distinct in gray, too.
    """
    colors, count = palette(), len(MARKERS)
    return {
        "color": colors[number % len(colors)],
        "marker": MARKERS[(number + number // count) % count],
        "linestyle": DASHES[(number + number // count**2) % count],
    }


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
    drawn = io.BytesIO()  # drawn first: on a full disk, the writer of pdf fails without a reason
    with rc_context({"svg.hashsalt": "repsim-energy"}):
        figure.savefig(drawn, format=suffix[1:], metadata=SUFFIXES[suffix], **options)
    with atomic_path(path) as temporary:
        temporary.write_bytes(drawn.getbuffer())


def check_suffix(path: Path) -> None:
    """Raise ``UsageError`` for a file that is no svg, png or pdf."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"got the figure '{path}', expected a name that ends in {', '.join(SUFFIXES)}"
        )
