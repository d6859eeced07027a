r"""Ten plane figures of equal area and equal perimeter.

The variance of an image depends on the areas of its figures, and the covariance at small lags
falls with their perimeters. Figures that agree in both, in random orientation, look different
but have almost the same second-order statistics.

All have the area :math:`\pi` of the unit disc and :math:`\sqrt 2` times its perimeter. Membership
of a point needs only sums, products and square roots, which all processors round alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREA", "DISC", "FIGURES", "PERIMETER", "Figure"]

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

AREA, PERIMETER = np.pi, 2 * np.pi * np.sqrt(2)


@dataclass(frozen=True)
class Figure:
    """Plane figure: membership of points, and the largest distance from the origin."""

    inside: Callable[[Array, Array], Mask]
    reach: float


def _disc(x: Array, y: Array, radius: float, left: float = 0.0) -> Mask:
    return (x + np.float32(left)) ** 2 + y * y <= radius**2


def _ring(outer: float, inner: float, left: float = 0.0) -> Figure:
    """Return a disc with a round hole, whose center is ``left`` of the center of the disc."""
    return Figure(lambda x, y: _disc(x, y, outer) & ~_disc(x, y, inner, left), outer)


_OUTER, _INNER = 3 / np.sqrt(8), 1 / np.sqrt(8)  # R + r = sqrt(2) and R^2 - r^2 = 1

# Two equal discs side by side, each of half the area, have the perimeter.
_PAIR, _APART = np.sqrt(0.5), 0.86

# Half a ring of width d and middle radius 1 / d has the area; its perimeter gives d.
_WIDTH = (PERIMETER - np.sqrt(PERIMETER**2 - 16 * np.pi)) / 4
_ARCH = 1 / _WIDTH + _WIDTH / 2, 1 / _WIDTH - _WIDTH / 2

# A square has the same perimeter without rectangles in its corners.
_SIDE = PERIMETER / 4
_CUT = _SIDE**2 - AREA

# A disc minus an equal one has the perimeter of the disc. Their intersection, a lens, spans an
# angle t with t - sin(t) = pi / 2; the distance of the centers is twice that of a center to its
# chord.
_LENS = 2.3098814600100575
_MOON = np.sqrt(8) * np.cos(_LENS / 2)


def _arch(x: Array, y: Array) -> Mask:
    return _disc(x, y, _ARCH[0]) & ~_disc(x, y, _ARCH[1]) & (y >= 0)


def _corner(x: Array, y: Array) -> Mask:
    half = _SIDE / 2
    inner = half - np.sqrt(_CUT)
    mask: Mask = (np.maximum(np.abs(x), np.abs(y)) <= half) & (np.minimum(x, y) <= inner)
    return mask


def _zigzag(x: Array, y: Array) -> Mask:
    half = _SIDE / 2
    square = np.maximum(np.abs(x), np.abs(y)) <= half
    up = np.where(x >= 0, y, -y)  # the upper right and the lower left corner are equal
    mask: Mask = square & ~((np.abs(x) > half - 1) & (up > half - _CUT / 2))
    return mask


def _star(points: int) -> Figure:
    """Return a star with straight edges, of the common area and perimeter."""
    turn = np.pi / points
    product = AREA / points / np.sin(turn)
    squares = (PERIMETER / 2 / points) ** 2 + 2 * product * np.cos(turn)
    far, near = (
        (np.sqrt(squares + 2 * product) + sign * np.sqrt(squares - 2 * product)) / 2
        for sign in (1, -1)
    )
    slope = np.float32(near * np.sin(turn) / (near * np.cos(turn) - far))
    tips = [np.array([np.cos(a), np.sin(a)], np.float32) for a in 2 * turn * np.arange(points)]

    def inside(x: Array, y: Array) -> Mask:
        mask = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
        for cos, sin in tips:  # each tip is a kite from the center
            along, beside = cos * x + sin * y, np.abs(cos * y - sin * x)
            kite = beside <= along * np.float32(np.tan(turn))
            mask |= kite & (beside <= slope * (along - np.float32(far)))
        return mask

    return Figure(inside, far)


def _flower(petals: int, depth: float) -> Figure:
    """Return the figure inside r = size (1 + depth cos(petals angle)); depth sets the perimeter."""
    size = 1 / np.sqrt(1 + depth**2 / 2)

    def inside(x: Array, y: Array) -> Mask:
        # r^petals cos(petals angle) is the real part of (x + iy)^petals
        radius = power = np.sqrt(x * x + y * y)
        real, imaginary = x, y
        for _ in range(petals - 1):
            power = power * radius
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        mask: Mask = power * radius <= np.float32(size) * (power + np.float32(depth) * real)
        return mask

    return Figure(inside, size * (1 + depth))


DISC = Figure(lambda x, y: _disc(x, y, 1), 1.0)
"""The unit disc, which has the area but not the perimeter of the figures."""

FIGURES = {
    "ring": _ring(_OUTER, _INNER),
    "eyelet": _ring(_OUTER, _INNER, 0.7 * (_OUTER - _INNER)),
    "pair": Figure(lambda x, y: _disc(np.abs(x), y, _PAIR, -_APART), _APART + _PAIR),
    "corner": Figure(_corner, _SIDE * np.sqrt(0.5)),
    "zigzag": Figure(_zigzag, _SIDE * np.sqrt(0.5)),
    "arch": Figure(_arch, _ARCH[0]),
    "crescent": Figure(
        lambda x, y: _disc(x, y, np.sqrt(2)) & ~_disc(x, y, np.sqrt(2), _MOON), np.sqrt(2)
    ),
    "trefoil": _flower(3, 0.5477399193847412),
    "quatrefoil": _flower(4, 0.3899332964303415),
    "star": _star(5),
}
"""Name -> figure."""
