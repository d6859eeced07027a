"""Checks of patch moments, against sums of unfolded patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from repsim_energy.doctor.checks import Check, Deviations, max_difference, on_device
from repsim_energy.doctor.inputs import noise, smooth_images
from repsim_energy.doctor.references import patch_sums
from repsim_energy.numerics.checked_products import MAX_TERMS
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
from repsim_energy.numerics.patches.sums import CHUNK_BYTES

__all__ = ["checks"]

Images = NDArray[Any]
Patch = tuple[int, int]
Case = tuple[str, Images, Patch]
Make = Callable[[int, int, int, int], Images]
Inputs = Callable[[Make], Iterator[Case]]

ODD = [
    ((5, 3, 9, 7), (2, 3)),
    ((3, 1, 7, 8), (7, 2)),
    ((4, 2, 11, 13), (5, 5)),
    ((2, 4, 6, 5), (1, 1)),
    ((4, 3, 32, 32), (7, 7)),
    ((40, 3, 32, 32), (3, 3)),
]
ONE = [((1, 1, 5, 5), (5, 5)), ((1, 3, 12, 12), (3, 3)), ((1, 1, 3, 40), (3, 3))]
WIDE = [((3, 3, 8, 70), (3, 3)), ((2, 2, 6, 83), (2, 5)), ((1, 1, 4, 70), (2, 20))]
"""Shapes (n, c, h, w) of images and (kh, kw) of patches. Wide images are cut into tiles."""

DIVISOR = 261
"""Number that bytes are divided by for other floats. Those divided by 255 are summed as bytes."""

CALLS = 5
"""Number of repetitions, because some faults are intermittent."""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of patch moments on a device."""
    inputs: dict[str, Inputs] = {
        "odd sizes": partial(_of_shapes, ODD),
        "one image": partial(_of_shapes, ONE),
        "wide images": partial(_of_shapes, WIDE),
        "many images": _many,
        "memory layouts": _layouts,
    }
    listed = []
    for kind, allowed in (("bytes", 0.0), ("float32", 1e-6)):
        expected = f"sums of unfolded patches in {'int64' if kind == 'bytes' else 'float64'}"
        for name, cases in inputs.items():
            measure = partial(_measure, cases, kind, device)
            title = f"patch moments of {kind}, {name}"
            listed.append(Check(title, expected, allowed, measure, all_threads=cases is _many))
    return [
        *listed,
        Check(
            "patch moments of float64",
            "sums of unfolded patches in float64",
            1e-12,
            partial(_measure, partial(_of_shapes, ODD[:3] + WIDE[:1]), "float64", device),
        ),
        Check(
            "patch moments of bytes over 255",
            "sums of unfolded patches in float64",
            1e-12,
            partial(_measure, _scaled, "bytes", device),
        ),
        Check(
            "patch moments of bytes 0 and 255",
            "sums of unfolded patches in int64",
            0.0,
            partial(_measure, _extremes, "bytes", device),
        ),
        Check(
            f"patch moments of bytes, {CALLS} calls and batches",
            "sums of unfolded patches in int64",
            0.0,
            partial(_repeated, device),
        ),
    ]


def _measure(inputs: Inputs, kind: str, device: torch.device) -> Deviations:
    """Compare the moments of each input with their definition."""
    for case, images, patch in inputs(partial(_make, kind)):
        actual = patch_moments(on_device(device, images), patch)
        yield f"{case}, patch {_size(patch)}", _deviation(actual, images, patch)


def _deviation(actual: PatchMoments, images: Images, patch: Patch) -> float:
    """Return the deviation of moments from their definition.

    It is absolute for bytes, whose moments are integers. Otherwise it is relative to the largest
    second moment, and to the largest possible sum with this second moment.
    """
    count, total, second = patch_sums(images, patch)
    largest = 1.0 if images.dtype == np.uint8 else float(second.max())
    largest_total = 1.0 if images.dtype == np.uint8 else math.sqrt(count * largest)
    of_total, of_second = max_difference(actual.total, total), max_difference(actual.second, second)
    return float(np.max([of_total / largest_total, of_second / largest, actual.count != count]))


def _make(kind: str, count: int, channels: int, height: int, width: int) -> Images:
    images = smooth_images(count, channels, height, width)
    return images if kind == "bytes" else images.astype(kind) / np.array(DIVISOR, kind)


def _scaled(make: Make) -> Iterator[Case]:
    """Yield float64 images that are bytes divided by 255."""
    for case, images, patch in _of_shapes(ODD[:3] + WIDE[:1], make):
        yield case, images.astype(np.float64) / 255, patch


def _of_shapes(shapes: list[tuple[tuple[int, int, int, int], Patch]], make: Make) -> Iterator[Case]:
    for shape, patch in shapes:
        yield f"{shape[0]} images {_size(shape[2:])}", make(*shape), patch


def _many(make: Make) -> Iterator[Case]:
    """Yield more images than one product handles: too many rows, or too much memory."""
    size = make(1, 1, 64, 64)
    count = CHUNK_BYTES // size.nbytes + 30
    if size.dtype == np.uint8:
        height = MAX_TERMS // 8
        yield f"20 images {height}x3", make(20, 1, height, 3), (3, 3)
    else:
        yield f"{count} images 64x64", make(count, 1, 64, 64), (2, 2)


def _layouts(make: Make) -> Iterator[Case]:
    """Yield views whose pixels are not contiguous in memory."""
    images, patch = make(6, 3, 24, 20), (3, 2)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    yield "channels last", last.transpose(0, 3, 1, 2), patch
    yield "every second column", images[..., ::2], patch
    yield "every second image", images[::2, :, 1:], patch
    yield "rows and columns exchanged", images.transpose(0, 1, 3, 2), patch
    strides = (0, *images.strides[1:])
    yield "one image, repeated", as_strided(images, images.shape, strides), patch


def _extremes(make: Make) -> Iterator[Case]:
    """Yield the bytes whose products saturate first."""
    shape = (9, 3, 20, 64)
    yield "black and white", (noise(*shape) > 127) * np.uint8(255), (3, 3)
    for byte in (0, 255):
        yield f"all {byte}", np.full(shape, byte, np.uint8), (3, 3)


def _repeated(device: torch.device) -> Deviations:
    """Yield repeated calls for the same images, then the sum over batches."""
    images, patch = smooth_images(30, 3, 17, 19), (3, 3)
    whole = on_device(device, images)
    for call in range(CALLS):
        actual = patch_moments(whole, patch)
        yield f"call {call + 1}", _deviation(actual, images, patch)
    parts = iter(whole.chunk(4))
    yield "in 4 batches", _deviation(patch_moments(parts, patch), images, patch)


def _size(size: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in size)
