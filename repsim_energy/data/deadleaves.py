r"""Dead leaves: procedural images with the patch statistics of photographs, made from a seed.

Opaque leaves of random size, place, rotation and colour fall on each other until nothing but
leaves is seen. With radii of density :math:`r^{-3}` the pile looks alike at every scale, and
occlusion gives the edges that noise of the same spectrum lacks. All leaves of a canvas have one
shape, and that shape is the label of the images cut from it.

The label is no second-order statistic. At small lags the covariance of a pile falls with the
length of its edges, hence with the mean perimeter over the mean area of its leaves. So a leaf "of
radius r" has, whatever its shape, the area over perimeter of a disc of radius r, which is r/2.

The constants below are fitted to the 3x3x3 and 7x7x3 patch spectra of CIFAR-10. Results on these
images are results on synthetic data.

Source: A. B. Lee, D. Mumford, J. Huang (2001), "Occlusion models for natural images"; M. Baradad,
J. Wulff, T. Wang, P. Isola, A. Torralba (2021), "Learning to see by looking at noise".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import acos, ceil, log, pi, sin, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from repsim_energy.errors import UsageError, unknown_name

__all__ = ["SHAPES", "VERSION", "render", "render_canvas"]

VERSION = 1  # bump when pixels change: it is part of the key of caches

SPLITS = ("train", "test")
CANVAS = 512  # pixels; wide against the largest leaf, so that canvases resemble each other
TILE = 32  # pixels, as in CIFAR-10
TILES_PER_CANVAS = (CANVAS // TILE) ** 2

SMALLEST, LARGEST = 3.0, 32.0  # pixels; a smaller leaf has no visible shape, a larger is no image
DEPTH = 6.0  # mean number of leaves over a point; exp(-6) = 0.2 % of the ground stays bare
SUBPIXELS = 2  # along a side; leaves are drawn hard on subpixels and averaged to soft edges
BATCH = 2**16  # subpixels tested at once, so that temporaries stay in the processor's cache

# The rows are RGB directions: luminance, orange against blue, magenta against green. Along these
# the colours of photographs are close to uncorrelated.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
COLOUR_SD = (0.33, 0.095, 0.043)  # of the leaves along these axes; black to white is 0 to 1
BLUR_SD = (0.50, 0.585, 0.585)  # pixels; JPEG halves the resolution of colour, so photographs
TEXTURE = 0.5  # sd of the texture in units of the sd of the leaves
GREY = 0.47  # mean pixel; CIFAR-10 has 0.49, 0.48, 0.45

# Everything that meets a threshold is either exact arithmetic element by element in float32, or
# float64 rounded late: one seed gives the same bytes whatever the processor's sine or FFT.
Coordinates: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class _Shape:
    """A plane figure about the origin in a unit of its own.

    Parameters
    ----------
    inside : tells which points (x, y) belong to the figure
    area, perimeter : in that unit
    reach : largest distance of the figure's points from the origin
    """

    inside: Callable[[Coordinates, Coordinates], Mask]
    area: float
    perimeter: float
    reach: float

    def scaled_to(self, area_over_perimeter: float) -> _Shape:
        """Return the similar figure with this ratio of area to perimeter."""
        s = area_over_perimeter * self.perimeter / self.area
        return _Shape(
            lambda x, y: self.inside(x / s, y / s),
            self.area * s**2,
            self.perimeter * s,
            self.reach * s,
        )


def _disc(x: Coordinates, y: Coordinates, left: float = 0.0, radius: float = 1.0) -> Mask:
    return (x + left) ** 2 + y**2 <= radius**2
