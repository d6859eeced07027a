"""Draw the picture of the README, ``_static/profiles.svg``: ``python docs/draw_profiles.py``.

It shows the energy profiles of the two networks of ``rs.example_result()``. Equal versions of
matplotlib give equal files.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import repsim_energy as rs
from repsim_energy.plot.style import write_figure

PICTURE = Path(__file__).parent / "_static" / "profiles.svg"

CURVES = ("mean", "init", "theory")
"""Columns of the table whose curves have an identifier in the picture, such as ``mean-vgg``."""

SETTINGS = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "image.composite_image": False,
    "svg.fonttype": "path",
}


def draw() -> Axes:
    """Return the axes of the picture. Each curve has its column and network as identifier."""
    result = rs.example_result()
    figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    rs.plot.profiles(result, ax=ax)
    table = rs.plot.table(result, "profiles")
    for name, rows in table.groupby("model", sort=False):
        for column in CURVES:
            for line in ax.lines:
                if list(line.get_ydata()) == list(rows[column]):
                    line.set_gid(f"{column}-{name}")
    one, other = result.model.values
    r, low, high = (rs.table(result, kind).loc[one, other] for kind in ("mean", "low", "high"))
    title = (
        f"what {one} and {other} learned: r = {r:.2f} "
        f"(smooth random filters: {low:.2f} to {high:.2f})"
    )
    ax.set_title(title.replace("-", "\N{MINUS SIGN}"), fontsize=11, pad=10)
    ax.set_ylabel("energy of the filters / largest")
    (images,) = ax.child_axes
    images.set_xticks([])
    images.set_xlabel("principal components of image patches, by variance", fontsize=10)
    return ax


def main() -> None:
    """Write the picture."""
    with mpl.rc_context({**mpl.rcParamsDefault, **SETTINGS}):
        mpl.use("agg")
        ax = draw()
        write_figure(ax.figure, PICTURE, dpi=200)
        plt.close(ax.figure)
    lines = PICTURE.read_text(encoding="utf-8").splitlines()
    PICTURE.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
