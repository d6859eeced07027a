r"""Dead leaves: procedural images with the patch statistics of photographs, made from a seed.

Opaque leaves of random size, place, rotation and colour fall on each other. With radii of
density :math:`r^{-3}` the pile looks alike at every scale, and occlusion gives the edges that
noise of the same spectrum lacks. All leaves of a canvas have one shape, and that shape is the
label of the images cut from it.

The label is no second-order statistic: at small lags the covariance of a pile falls with the
perimeter over the area of its leaves, so a leaf "of radius r" has, whatever its shape, the area
over perimeter of a disc of radius r, which is r/2.

The constants are fitted to the 3x3x3 and 7x7x3 patch spectra of CIFAR-10. Results on these images
are results on synthetic data.

Source: Lee, Mumford & Huang (2001), "Occlusion models for natural images"; Baradad et al. (2021),
"Learning to see by looking at noise".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from repsim_energy.errors import UsageError, unknown_name

__all__ = ["SHAPES", "VERSION", "render", "render_canvas"]

VERSION = 1
"""Raised when pixels change: it is part of the key of caches."""

SPLITS = ("train", "test")
CANVAS, TILE = 512, 32  # pixels; a canvas is wide against the largest leaf
SMALLEST, LARGEST = 3.0, 32.0  # radius in pixels
COVER = 6.0  # mean number of leaves over a point: exp(-6), 0.2 %, of the ground stays bare
SUBPIXELS = 2  # along a side; leaves are drawn hard on subpixels and averaged to soft edges
BATCH = 200_000  # subpixels tested at once, so that temporaries stay in the processor's cache

# Rows are RGB directions: luminance, orange against blue, magenta against green. Along these the
# colours of photographs are close to uncorrelated.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
COLOUR_SD = (0.30, 0.085, 0.039)  # of the leaves along these axes; black to white is 0 to 1
BLUR_SD = (0.5, 0.6, 0.6)  # pixels, along the same axes
TEXTURE = 0.5  # standard deviation of the 1/f texture in units of that of the leaves
GREY = 0.47  # mean pixel

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Shape:
    """A plane figure about the origin: which points are inside, its size in its own unit."""

    inside: Callable[[Array, Array], Mask]
    area: float
    perimeter: float
    reach: float

    @property
    def scale(self) -> float:
        """The factor that gives the figure the area over perimeter of the unit disc."""
        return 0.5 * self.perimeter / self.area


def _disc(x: Array, y: Array, left: float = 0.0) -> Mask:
    return (x + np.float32(left)) ** 2 + y * y <= 1


def _box(x: Array, y: Array, half_width: int, half_height: int) -> Mask:
    return (np.abs(x) <= half_width) & (np.abs(y) <= half_height)


def _triangle(x: Array, y: Array) -> Mask:
    slanted = np.float32(np.sqrt(0.75)) * y
    return (x <= 1) & (slanted - x / 2 <= 1) & (-slanted - x / 2 <= 1)


_LENS = 2 * np.pi / 3  # the angle that the common chord of two unit discs at distance 1 spans
_LENS_AREA = _LENS - np.sin(_LENS)

_FIGURES = {
    "disc": _Shape(_disc, np.pi, 2 * np.pi, 1),
    "half_disc": _Shape(lambda x, y: _disc(x, y) & (y >= 0), np.pi / 2, np.pi + 2, 1),
    "ring": _Shape(lambda x, y: _disc(x, y) & ~_disc(2 * x, 2 * y), 0.75 * np.pi, 3 * np.pi, 1),
    "crescent": _Shape(
        lambda x, y: _disc(x, y) & ~_disc(x, y, 1), np.pi - _LENS_AREA, 2 * np.pi, 1
    ),
    "lens": _Shape(
        lambda x, y: _disc(x, y, 0.5) & _disc(x, y, -0.5), _LENS_AREA, 2 * _LENS, np.sin(_LENS / 2)
    ),
    "triangle": _Shape(_triangle, 3 * np.sqrt(3), 6 * np.sqrt(3), 2),
    "square": _Shape(lambda x, y: _box(x, y, 1, 1), 4, 8, np.sqrt(2)),
    "bar": _Shape(lambda x, y: _box(x, y, 3, 1), 12, 16, np.sqrt(10)),
    "cross": _Shape(lambda x, y: _box(x, y, 3, 1) | _box(x, y, 1, 3), 20, 24, np.sqrt(10)),
    "star": _Shape(
        lambda x, y: _triangle(x, y) | _triangle(-x, y), 4 * np.sqrt(3), 8 * np.sqrt(3), 2
    ),
}

SHAPES: tuple[str, ...] = tuple(_FIGURES)


def render(split: str, count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images and labels; equal arguments give equal bytes.

    Parameters
    ----------
    split : ``train`` or ``test``, which share no canvas
    count : n, the number of images, spread evenly over the shapes
    seed : >= 0

    Returns
    -------
    (n, 3, 32, 32) uint8 images and (n,) labels, indices into ``SHAPES``. Shapes take turns, so
    that any first part of the images is balanced too.
    """
    if split not in SPLITS:
        raise unknown_name("split of deadleaves", split, SPLITS)
    if count < 1 or seed < 0:
        raise UsageError(
            f"deadleaves got count={count}, seed={seed}, expected count >= 1 and seed >= 0"
        )
    rounds = -(-count // len(SHAPES))
    canvases = -(-rounds // (CANVAS // TILE) ** 2)

    def tiles(task: tuple[int, int]) -> NDArray[np.uint8]:
        label, canvas = task
        generator = np.random.default_rng([seed, SPLITS.index(split), label, canvas])
        return generator.permutation(_cut(render_canvas(SHAPES[label], generator)))

    tasks = [(label, canvas) for canvas in range(canvases) for label in range(len(SHAPES))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = list(pool.map(tiles, tasks))
    per_canvas = [
        np.stack(drawn[i : i + len(SHAPES)], axis=1) for i in range(0, len(drawn), len(SHAPES))
    ]
    images = np.concatenate(per_canvas).reshape(-1, 3, TILE, TILE)[:count]
    return images, np.arange(count, dtype=np.int64) % len(SHAPES)


def render_canvas(
    shape: str, generator: np.random.Generator, size: int = CANVAS
) -> NDArray[np.uint8]:
    """Return a (size, size, 3) uint8 picture of leaves of one shape."""
    if shape not in _FIGURES:
        raise unknown_name("leaf shape", shape, SHAPES)
    owners = _pile(_FIGURES[shape], generator, size)
    colours = generator.standard_normal((int(owners.max()) + 1, 3)).T
    texture = _pink(generator, size)
    s = range(SUBPIXELS)
    axes = []
    for axis in range(3):
        leaves = sum(colours[axis][owners[i::SUBPIXELS, j::SUBPIXELS]] for i in s for j in s)
        field = COLOUR_SD[axis] * (leaves / SUBPIXELS**2 + TEXTURE * texture[axis])
        axes.append(ndimage.gaussian_filter(field, BLUR_SD[axis]))
    rgb = np.tensordot(np.stack(axes), OPPONENT, axes=(0, 0)) + GREY
    # Rounded in two steps, so that the last digits of a processor's FFT do not reach the bytes.
    pixels: NDArray[np.uint8] = np.rint(np.round(255 * rgb, 6)).clip(0, 255).astype(np.uint8)
    return pixels


def _pile(figure: _Shape, generator: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Return, for each subpixel, the number of the leaf on top (0 for bare ground)."""
    scale, side = figure.scale, size * SUBPIXELS
    low, high = LARGEST**-2, SMALLEST**-2  # radii of density r^-3 have uniform r^-2
    mean_square_radius = 2 * np.log(LARGEST / SMALLEST) / (high - low)
    field = size + 2 * LARGEST * scale * figure.reach
    leaves = int(COVER * field**2 / (figure.area * scale**2 * mean_square_radius))
    radius = SUBPIXELS * scale / np.sqrt(high - (high - low) * generator.random(leaves))
    centre = SUBPIXELS * (field * generator.random((leaves, 2)) - (field - size) / 2)
    angle = 2 * np.pi * generator.random(leaves)
    half = np.ceil(radius * figure.reach).astype(int)
    corner = np.floor(centre).astype(int)
    on_canvas = np.all((corner > -half[:, None]) & (corner < side + half[:, None]), axis=1)
    radius, centre, angle = radius[on_canvas], centre[on_canvas], angle[on_canvas]
    half, corner = half[on_canvas], corner[on_canvas]
    stamps = _stamps(figure, radius, centre - corner - 0.5, angle, half)
    pad = 2 * int(half.max()) + 1
    owners = np.zeros((side + 2 * pad,) * 2, np.int32)
    places = zip(stamps, half.tolist(), (corner + pad).tolist(), strict=True)
    for number, (stamp, h, (row, column)) in enumerate(places, 1):
        np.copyto(owners[row - h : row + h + 1, column - h : column + h + 1], number, where=stamp)
    return owners[pad:-pad, pad:-pad]


def _stamps(
    figure: _Shape,
    radius: NDArray[np.float64],
    offset: NDArray[np.float64],
    angle: NDArray[np.float64],
    half: NDArray[np.int_],
) -> list[Mask]:
    """Return each leaf's (2 half + 1, 2 half + 1) mask; leaves of one extent are drawn at once."""
    stamps: list[Mask] = [np.empty(0, np.bool_)] * len(radius)
    order = np.argsort(half, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(half[order])) + 1):
        h = int(half[group[0]])
        line = np.arange(-h, h + 1)
        for part in np.array_split(group, -(-len(group) * len(line) ** 2 // BATCH)):
            unit = np.stack([np.cos(angle[part]), np.sin(angle[part])]) / radius[part]
            (ux, uy) = unit.astype(np.float32)[:, :, None]
            dy, dx = ((line - offset[part, axis, None]).astype(np.float32) for axis in (0, 1))
            x = (ux * dx)[:, None, :] + (uy * dy)[:, :, None]
            y = (ux * dy)[:, :, None] - (uy * dx)[:, None, :]
            for leaf, stamp in zip(part.tolist(), figure.inside(x, y), strict=True):
                stamps[leaf] = stamp
    return stamps


def _pink(generator: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return three (size, size) noise fields of amplitude spectrum 1/f and unit variance."""
    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    white = fft.rfft2(generator.standard_normal((3, size, size)))
    noise = fft.irfft2(white / frequency, s=(size, size))
    unit: NDArray[np.float64] = noise / noise.std(axis=(1, 2), keepdims=True)
    return unit


def _cut(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    n = len(canvas) // TILE
    tiles = canvas.reshape(n, TILE, n, TILE, 3).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(-1, 3, TILE, TILE)
