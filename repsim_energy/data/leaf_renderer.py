r"""Dead leaves: rendered images with the patch statistics of photographs.

Opaque leaves of random size, position, rotation and color fall on each other. Radii of density
:math:`r^{-3}` make the pile scale-invariant, and occlusion gives the edges that noise of the same
spectrum lacks. The leaves of the pile are discs. In front of them, each image has one light leaf
of another shape in random orientation; this shape is the label.

Second-order statistics hardly depend on the label, because the shapes have equal area and
perimeter (:mod:`~repsim_energy.data.leaf_shapes`).

The constants are fitted to the 3x3x3 and 7x7x3 patch spectra of CIFAR-10. The images remain
synthetic data.

Source: Lee, Mumford & Huang (2001), "Occlusion models for natural images"; Baradad et al. (2021),
"Learning to see by looking at noise".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from repsim_energy.data.leaf_shapes import DISC, FIGURES, Figure, Mask
from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.progress import working

__all__ = ["SHAPES", "VERSION", "render", "render_canvas"]

VERSION = 2
"""Part of cache keys, increased when pixels change."""

SPLITS = ("train", "test")
CANVAS_PIXELS, TILE_PIXELS = 512, 32  # sides; a canvas is much wider than the largest leaf
MIN_RADIUS, MAX_RADIUS = 3.0, 32.0  # pixels
COVER = 6.0  # mean number of leaves over a point; exp(-6), 0.2 %, of the ground stays bare
SUBPIXELS = 2  # per pixel and axis; their average gives leaves soft edges
BLOCK_SUBPIXELS = 200_000  # per step, so that temporaries stay in the processor's cache

# Rows are RGB directions: luminance, orange-blue, magenta-green. Along these axes the colors of
# photographs are almost uncorrelated.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
COLOR_SD = (0.27, 0.085, 0.039)  # of leaves along these axes; black is 0, white 1
BLUR_SD = (0.5, 0.6, 0.6)  # pixels, along the same axes
TEXTURE = 0.5  # standard deviation of the 1/f texture in units of that of the leaves
GRAY = 0.42  # mean pixel of the pile
FRONT_RADIUS = 9.0, 9.8  # pixels; of the disc with the same area
FRONT_LIGHT, FRONT_SD = 0.25, 0.05  # brightness above the pile: mean, standard deviation

SHAPES: tuple[str, ...] = tuple(FIGURES)


def render(split: str, count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Render images and labels. Equal arguments give equal bytes.

    Parameters
    ----------
    split : ``train`` or ``test``, which share no canvas
    count : n, the number of images, spread evenly over the shapes
    seed : >= 0

    Returns
    -------
    (n, 3, 32, 32) uint8 images and (n,) labels, indices into ``SHAPES``. Shapes alternate, so
    that the first images are balanced as well.
    """
    if split not in SPLITS:
        raise unknown_name("split of deadleaves", split, SPLITS)
    if count < 1 or seed < 0:
        raise UsageError(
            f"deadleaves got count={count}, seed={seed}, expected count >= 1 and seed >= 0"
        )
    labels = np.arange(count, dtype=np.int64) % len(SHAPES)
    tiles = (CANVAS_PIXELS // TILE_PIXELS) ** 2

    def images(canvas: int) -> NDArray[np.uint8]:
        generator = np.random.default_rng([seed, SPLITS.index(split), canvas])
        place = generator.permutation(tiles)  # so that consecutive images are no neighbors
        shapes = np.empty(tiles, np.int64)
        shapes[place] = (canvas * tiles + np.arange(tiles)) % len(SHAPES)
        return _cut(render_canvas([SHAPES[i] for i in shapes], generator))[place]

    drawn = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        working(f"rendering deadleaves, {split}", count, "images") as advance,
    ):
        for canvas in pool.map(images, range(-(-count // tiles))):
            drawn.append(canvas)
            advance(len(canvas))
    return np.concatenate(drawn)[:count], labels


def render_canvas(shapes: Sequence[str], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Render a pile of leaves as a (size, size, 3) uint8 image.

    It consists of tiles of 32x32 pixels, row by row. The tile i has a leaf of shape ``shapes[i]``
    in front.
    """
    for name in set(shapes) - set(FIGURES):
        raise unknown_name("leaf shape", name, SHAPES)
    from scipy import ndimage  # here, because images are rendered once

    size = TILE_PIXELS * round(len(shapes) ** 0.5)
    owners = _pile(generator, size)
    pile = int(owners.max()) + 1
    _draw_in_front(owners, shapes, pile, generator)
    drawn = generator.standard_normal((pile + len(shapes), 3)).T
    colors = drawn * np.array(COLOR_SD)[:, None]
    colors[0, pile:] = (FRONT_LIGHT + FRONT_SD * drawn[0, pile:]) / OPPONENT[0, 0]
    texture = _pink(generator, size)
    s = range(SUBPIXELS)
    axes = []
    for axis in range(3):
        leaves = sum(colors[axis][owners[i::SUBPIXELS, j::SUBPIXELS]] for i in s for j in s)
        field = leaves / SUBPIXELS**2 + COLOR_SD[axis] * TEXTURE * texture[axis]
        axes.append(ndimage.gaussian_filter(field, BLUR_SD[axis]))
    rgb = np.tensordot(np.stack(axes), OPPONENT, axes=(0, 0)) + GRAY
    # Rounded in two steps, so that the last digits of the FFT do not change bytes.
    pixels: NDArray[np.uint8] = np.rint(np.round(255 * rgb, 6)).clip(0, 255).astype(np.uint8)
    return pixels


def _pile(generator: np.random.Generator, size: int) -> NDArray[np.int32]:
    """Return the number of the disc on top of each subpixel; 0 for bare ground."""
    low, high = MAX_RADIUS**-2, MIN_RADIUS**-2  # radii of density r^-3 have uniform r^-2
    mean_square_radius = 2 * np.log(MAX_RADIUS / MIN_RADIUS) / (high - low)
    field = size + 2 * MAX_RADIUS
    leaves = int(COVER * field**2 / (np.pi * mean_square_radius))
    radius = SUBPIXELS / np.sqrt(high - (high - low) * generator.random(leaves))
    center = SUBPIXELS * (field * generator.random((leaves, 2)) - MAX_RADIUS)
    side, reach = size * SUBPIXELS, np.ceil(radius)[:, None] + 1
    on_canvas = np.all((center > -reach) & (center < side + reach), axis=1)
    radius, center = radius[on_canvas], center[on_canvas]
    pad = 2 * int(np.ceil(radius.max())) + 3
    owners = np.zeros((side + 2 * pad,) * 2, np.int32)
    _draw(owners, DISC, radius, center + pad, np.zeros(len(radius)), np.arange(len(radius)) + 1)
    return owners[pad:-pad, pad:-pad]


def _draw_in_front(
    owners: NDArray[np.int32], shapes: Sequence[str], first: int, generator: np.random.Generator
) -> None:
    """Draw one complete leaf on each tile, numbered from ``first``."""
    rows = round(len(shapes) ** 0.5)
    radius = generator.uniform(*FRONT_RADIUS, len(shapes))
    reach = radius * [FIGURES[name].reach for name in shapes]
    room = TILE_PIXELS / 2 - reach[:, None] - 1 / SUBPIXELS
    center = TILE_PIXELS / 2 + room * generator.uniform(-1, 1, (len(shapes), 2))
    center += TILE_PIXELS * np.stack(np.divmod(np.arange(len(shapes)), rows), axis=1)
    angle = 2 * np.pi * generator.random(len(shapes))
    for name in set(shapes):
        i = np.flatnonzero(np.array(shapes) == name)
        subpixels = SUBPIXELS * radius[i], SUBPIXELS * center[i]
        _draw(owners, FIGURES[name], *subpixels, angle[i], first + i)


def _draw(
    owners: NDArray[np.int32],
    figure: Figure,
    radius: NDArray[np.float64],
    center: NDArray[np.float64],
    angle: NDArray[np.float64],
    number: NDArray[np.int_],
) -> None:
    """Draw leaves of one figure in order. All lengths are in subpixels."""
    half = np.ceil(radius * figure.reach).astype(int)
    corner = np.floor(center).astype(int)
    stamps = _stamps(figure, radius, center - corner - 0.5, angle, half)
    places = zip(stamps, half.tolist(), corner.tolist(), number.tolist(), strict=True)
    for stamp, h, (row, column), leaf in places:
        np.copyto(owners[row - h : row + h + 1, column - h : column + h + 1], leaf, where=stamp)


def _stamps(
    figure: Figure,
    radius: NDArray[np.float64],
    offset: NDArray[np.float64],
    angle: NDArray[np.float64],
    half: NDArray[np.int_],
) -> list[Mask]:
    """Return the (2 half + 1, 2 half + 1) mask of each leaf, drawing equal sizes together."""
    stamps: list[Mask] = [np.empty(0, np.bool_)] * len(radius)
    order = np.argsort(half, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(half[order])) + 1):
        h = int(half[group[0]])
        line = np.arange(-h, h + 1)
        for part in np.array_split(group, -(-len(group) * len(line) ** 2 // BLOCK_SUBPIXELS)):
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
    from scipy import fft  # here, because images are rendered once

    frequency = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    white = fft.rfft2(generator.standard_normal((3, size, size)))
    noise = fft.irfft2(white / frequency, s=(size, size))
    unit: NDArray[np.float64] = noise / noise.std(axis=(1, 2), keepdims=True)
    return unit


def _cut(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    n = len(canvas) // TILE_PIXELS
    tiles = canvas.reshape(n, TILE_PIXELS, n, TILE_PIXELS, 3).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(-1, 3, TILE_PIXELS, TILE_PIXELS)
