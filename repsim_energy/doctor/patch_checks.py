"""Patch moments against sums of unfolded patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from repsim_energy.doctor.checks import Check, Deviations, away, on
from repsim_energy.doctor.pictures import noise, pictures
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
"""Images (n, c, h, w) and the patches that are taken of them; wide ones are cut into tiles."""

CALLS = 5
"""How often the same sums are asked for: some faults come and go."""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of patch moments on a device."""
    inputs: dict[str, Inputs] = {
        "odd sizes": partial(_of_shapes, ODD),
        "one image": partial(_of_shapes, ONE),
        "wide images": partial(_of_shapes, WIDE),
        "many images": _many,
        "any order of memory": _orders,
    }
    found = []
    for kind, allowed in (("bytes", 0.0), ("float32", 1e-6)):
        expected = f"sums of unfolded patches in {'int64' if kind == 'bytes' else 'float64'}"
        for name, cases in inputs.items():
            measure = partial(_measure, cases, kind, device)
            title = f"patch moments of {kind}, {name}"
            found.append(Check(title, expected, allowed, measure, all_threads=cases is _many))
    return [
        *found,
        Check(
            "patch moments of float64",
            "sums of unfolded patches in float64",
            1e-12,
            partial(_measure, partial(_of_shapes, ODD[:3] + WIDE[:1]), "float64", device),
        ),
        Check(
            "patch moments of bytes 0 and 255 alone",
            "sums of unfolded patches in int64",
            0.0,
            partial(_measure, _extremes, "bytes", device),
        ),
        Check(
            f"patch moments of bytes, {CALLS} calls and their sum",
            "sums of unfolded patches in int64",
            0.0,
            partial(_repeated, device),
        ),
    ]


def _measure(inputs: Inputs, kind: str, device: torch.device) -> Deviations:
    """Compare the moments of each input with their definition."""
    for case, images, patch in inputs(partial(_make, kind)):
        found = patch_moments(on(device, images), patch)
        yield f"{case}, patch {_size(patch)}", _deviation(found, images, patch)


def _deviation(found: PatchMoments, images: Images, patch: Patch) -> float:
    """Return how far moments are from those of the images.

    Of bytes in units of theirs, which are whole numbers. Else relatively to the largest entry of
    the second moment, and to the largest sum that goes with it.
    """
    count, total, second = patch_sums(images, patch)
    largest = 1.0 if images.dtype == np.uint8 else float(second.max())
    largest_total = 1.0 if images.dtype == np.uint8 else math.sqrt(count * largest)
    of_total, of_second = away(found.total, total), away(found.second, second)
    return float(np.max([of_total / largest_total, of_second / largest, found.count != count]))


def _make(kind: str, count: int, channels: int, height: int, width: int) -> Images:
    images = pictures(count, channels, height, width)
    return images if kind == "bytes" else images.astype(kind) / np.array(255, kind)


def _of_shapes(shapes: list[tuple[tuple[int, int, int, int], Patch]], make: Make) -> Iterator[Case]:
    for shape, patch in shapes:
        yield f"{shape[0]} images {_size(shape[2:])}", make(*shape), patch


def _many(make: Make) -> Iterator[Case]:
    """Give more images than are multiplied at once: too many rows, or too much memory."""
    size = make(1, 1, 64, 64)
    count = CHUNK_BYTES // size.nbytes + 30
    if size.dtype == np.uint8:
        height = MAX_TERMS // 8
        yield f"20 images {height}x3", make(20, 1, height, 3), (3, 3)
    else:
        yield f"{count} images 64x64", make(count, 1, 64, 64), (2, 2)


def _orders(make: Make) -> Iterator[Case]:
    """Give views whose pixels are not side by side in memory."""
    images, patch = make(6, 3, 24, 20), (3, 2)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    yield "channels last", last.transpose(0, 3, 1, 2), patch
    yield "every second column", images[..., ::2], patch
    yield "every second image", images[::2, :, 1:], patch
    yield "rows and columns exchanged", images.transpose(0, 1, 3, 2), patch
    strides = (0, *images.strides[1:])
    yield "one image seen often", as_strided(images, images.shape, strides), patch


def _extremes(make: Make) -> Iterator[Case]:
    """Give the bytes whose products saturate first."""
    shape = (9, 3, 20, 64)
    yield "black and white", (noise(*shape) > 127) * np.uint8(255), (3, 3)
    for byte in (0, 255):
        yield f"all {byte}", np.full(shape, byte, np.uint8), (3, 3)


def _repeated(device: torch.device) -> Deviations:
    """Ask for the same sums again and again, then for those of all parts together."""
    images, patch = pictures(30, 3, 17, 19), (3, 3)
    whole = on(device, images)
    for call in range(CALLS):
        found = patch_moments(whole, patch)
        yield f"call {call + 1}", _deviation(found, images, patch)
    parts = iter(whole.chunk(4))
    yield "in 4 batches", _deviation(patch_moments(parts, patch), images, patch)


def _size(size: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in size)
