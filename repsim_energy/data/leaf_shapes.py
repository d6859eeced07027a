r"""Ten plane figures of one area and one length of outline.

At small lags the covariance of a picture falls with the length of the outlines in it, and its
variance depends on the areas. Figures that agree in both, turned at random, differ in what they
look like and hardly in second-order statistics.

All have the area :math:`\pi` of the unit disc and :math:`\sqrt 2` times its outline. Whether a
point is inside is decided by sums, products and square roots, which all processors round alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREA", "DISC", "FIGURES", "OUTLINE", "Figure"]

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

AREA, OUTLINE = np.pi, 2 * np.pi * np.sqrt(2)


@dataclass(frozen=True)
class Figure:
    """A plane figure: which points are inside, and how far from the origin they reach."""

    inside: Callable[[Array, Array], Mask]
    reach: float


def _disc(x: Array, y: Array, radius: float, left: float = 0.0) -> Mask:
    return (x + np.float32(left)) ** 2 + y * y <= radius**2


def _ring(outer: float, inner: float, left: float = 0.0) -> Figure:
    """Return a disc with a round hole, whose center lies ``left`` of the disc's."""
    return Figure(lambda x, y: _disc(x, y, outer) & ~_disc(x, y, inner, left), outer)


_OUTER, _INNER = 3 / np.sqrt(8), 1 / np.sqrt(8)  # R + r = sqrt(2) and R^2 - r^2 = 1

# Two equal discs side by side, each of half of the area, have the outline.
_PAIR, _APART = np.sqrt(0.5), 0.86

# Half a ring of width d and middle radius 1 / d has the area; its outline gives d.
_WIDTH = (OUTLINE - np.sqrt(OUTLINE**2 - 16 * np.pi)) / 4
_ARCH = 1 / _WIDTH + _WIDTH / 2, 1 / _WIDTH - _WIDTH / 2

# Squares without rectangles in their corners keep the outline of the square.
_SIDE = OUTLINE / 4
_CUT = _SIDE**2 - AREA

# A disc without an equal one has the disc's outline. The lens between them spans an angle t of
# t - sin(t) = pi / 2, and their centers are apart by as much as its chord is from both, twice.
_LENS = 2.3098814600100575
_MOON = np.sqrt(8) * np.cos(_LENS / 2)


def _arch(x: Array, y: Array) -> Mask:
    return _disc(x, y, _ARCH[0]) & ~_disc(x, y, _ARCH[1]) & (y >= 0)


def _corner(x: Array, y: Array) -> Mask:
    half = _SIDE / 2
    inner = half - np.sqrt(_CUT)
    found: Mask = (np.maximum(np.abs(x), np.abs(y)) <= half) & (np.minimum(x, y) <= inner)
    return found


def _zigzag(x: Array, y: Array) -> Mask:
    half = _SIDE / 2
    square = np.maximum(np.abs(x), np.abs(y)) <= half
    up = np.where(x >= 0, y, -y)  # the upper right corner and the lower left one are alike
    found: Mask = square & ~((np.abs(x) > half - 1) & (up > half - _CUT / 2))
    return found


def _star(points: int) -> Figure:
    """Return a star with straight edges: the corners' distances have known product and sum."""
    turn = np.pi / points
    product = AREA / points / np.sin(turn)
    squares = (OUTLINE / 2 / points) ** 2 + 2 * product * np.cos(turn)
    far, near = (
        (np.sqrt(squares + 2 * product) + sign * np.sqrt(squares - 2 * product)) / 2
        for sign in (1, -1)
    )
    slope = np.float32(near * np.sin(turn) / (near * np.cos(turn) - far))
    tips = [np.array([np.cos(a), np.sin(a)], np.float32) for a in 2 * turn * np.arange(points)]

    def inside(x: Array, y: Array) -> Mask:
        found = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_)
        for cos, sin in tips:  # a kite each, from the middle to the tip
            along, beside = cos * x + sin * y, np.abs(cos * y - sin * x)
            kite = beside <= along * np.float32(np.tan(turn))
            found |= kite & (beside <= slope * (along - np.float32(far)))
        return found

    return Figure(inside, far)


def _flower(petals: int, depth: float) -> Figure:
    """Return the curve r = size (1 + depth cos(petals angle)); the depth gives the outline."""
    size = 1 / np.sqrt(1 + depth**2 / 2)

    def inside(x: Array, y: Array) -> Mask:
        # r^petals cos(petals angle) is the real part of (x + iy)^petals
        radius = power = np.sqrt(x * x + y * y)
        real, imaginary = x, y
        for _ in range(petals - 1):
            power = power * radius
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        found: Mask = power * radius <= np.float32(size) * (power + np.float32(depth) * real)
        return found

    return Figure(inside, size * (1 + depth))


DISC = Figure(lambda x, y: _disc(x, y, 1), 1.0)
"""The unit disc, which has the area but not the outline."""

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
