"""Figures of ``rs.plot`` and of files as SVG elements inside the page."""

from __future__ import annotations

import base64
import io
import warnings
import xml.etree.ElementTree as ET
from typing import Any, NamedTuple

import xarray as xr

from repsim_energy.errors import UsageError, visible
from repsim_energy.plot.kinds import KINDS, kinds_of
from repsim_energy.plot.style import check_matplotlib

__all__ = ["MAX_SVG_BYTES", "Figure", "figures_of", "inline_drawing", "png_address"]

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"

MAX_SVG_BYTES = 250_000
"""Size of the largest SVG figure. A larger one, such as a large heat map, is a PNG image."""

DRAWN = frozenset(
    f"{{{SVG}}}{name}"
    for name in (
        *("svg", "g", "defs", "path", "use", "clipPath", "rect", "circle", "image", "text"),
        *("tspan", "pattern", "linearGradient", "stop"),
    )
)
"""Elements that draw."""

TITLES = {
    "similarity": "Similarity",
    "intervals": "Similarity with its intervals",
    "profiles": "Energy profiles with their initialization",
    "fit": "Agreement with theory",
    "residuals": "Beyond the theory",
    "filters": "Filters",
    "trajectory": "Course of training",
    "spectrum": "Variance of the patches",
}
"""Kind of figure -> its title on the page, in the order of the page."""


class Figure(NamedTuple):
    """A figure of the page.

    Parameters
    ----------
    title : heading
    drawing : SVG element as text; empty if the figure is an image or left out
    image : address of a PNG image, for figures that would be large as SVG
    note : reason for which the figure is left out
    """

    title: str
    drawing: str
    image: str = ""
    note: str = ""


def figures_of(result: xr.Dataset, prefix: str) -> list[Figure]:
    """Return the figures that a result has the variables for.

    Parameters
    ----------
    prefix : of the identifiers in the drawings, which are unique on the page

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    check_matplotlib()
    possible = kinds_of(result)
    return [
        _figure(result, kind, title, f"{prefix}-{kind}")
        for kind, title in TITLES.items()
        if kind in possible
    ]


def _figure(result: xr.Dataset, kind: str, title: str, prefix: str) -> Figure:
    """Return a figure, or the reason for which there is none, such as runs not in the cache."""
    import matplotlib
    import matplotlib.pyplot as plt

    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": prefix, "figure.dpi": 100}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # the browser has fonts
        before = set(plt.get_fignums())
        try:
            ax = KINDS[kind].draw(result)
        except UsageError as error:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
            return Figure(title, "", note=str(error))
        try:
            drawing = inline_drawing(_saved(ax.figure, "svg"), prefix, title)
            if len(drawing) <= MAX_SVG_BYTES:
                return Figure(title, drawing)
            return Figure(title, "", image=png_address(_saved(ax.figure, "png")))
        finally:
            plt.close(ax.figure)


def _saved(figure: Any, kind: str) -> bytes:
    metadata = {"Date": None} if kind == "svg" else {}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata, transparent=True)
    return buffer.getvalue()


def png_address(png: bytes) -> str:
    """Return the address of a PNG image that is inside the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def inline_drawing(svg: bytes, prefix: str, title: str) -> str:
    """Return an SVG file of matplotlib as an element of a page.

    Only elements and attributes that draw are copied: no script, no style sheet, which would apply
    to the whole page (``page.css`` has its rule), and no address outside the page. A file may
    come from anyone.

    Parameters
    ----------
    prefix : of the identifiers, which are unique on the page

    Raises
    ------
    ValueError
        If the file is no drawing of matplotlib.
    """
    try:
        root = ET.fromstring(svg)
        width = float(root.attrib.pop("width").removesuffix("pt"))
    except (ET.ParseError, KeyError) as error:
        raise ValueError("it is no SVG file of matplotlib") from error
    root.attrib.pop("height", None)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag not in DRAWN:
                parent.remove(child)
    for element in root.iter():
        _rename_identifiers(element, prefix)
        element.text = visible(element.text) if element.text and element.text.strip() else None
        element.tail = None
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("style", f"max-width: {width * 4 / 3:.0f}px")  # scaled by the page up to its size
    for space, address in (("", SVG), ("xlink", XLINK)):
        ET.register_namespace(space, address)
    return ET.tostring(root, encoding="unicode")


def _rename_identifiers(element: ET.Element, prefix: str) -> None:
    """Prefix the identifiers of an element, and remove what leads out of the page or runs."""
    for name, value in list(element.attrib.items()):
        if name == "id":
            element.set(name, f"{prefix}-{value}")
        elif name in ("href", f"{{{XLINK}}}href"):
            if value.startswith("#"):
                element.set(name, f"#{prefix}-{value[1:]}")
            elif not value.startswith("data:image/png;base64,"):
                del element.attrib[name]
        elif name.startswith("on") or "url(" in value.replace("url(#", ""):
            del element.attrib[name]
        else:
            element.set(name, value.replace("url(#", f"url(#{prefix}-"))
