"""Checks of numbers computed from images, against direct sums over their patches."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.data.leaf_renderer import SHAPES, render_canvas
from repsim_energy.doctor import references
from repsim_energy.doctor.checks import Check, Deviations, max_difference, relative_difference
from repsim_energy.doctor.inputs import noise, smooth_images
from repsim_energy.doctor.stored import stored
from repsim_energy.interfaces import PatchBasis, PatchTransform
from repsim_energy.numerics.autocorrelation.autocorrelation import (
    MAX_IMAGE_NUMBERS,
    autocorrelation,
    patch_autocovariance,
)
from repsim_energy.numerics.patches.per_image import (
    average_patches,
    average_shuffled_patches,
    class_correlations,
    component_energies,
)
from repsim_energy.numerics.patches.tiles import tile_patches

__all__ = ["checks", "leaves"]

LARGE_SIDE = math.isqrt(MAX_IMAGE_NUMBERS) + 2
"""Side in pixels from which the autocorrelation is computed by Fourier transforms."""

PATCH = (3, 2, 3)
"""Channels, height and width of the patches of most checks."""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of numbers computed from images. They run on the CPU only."""
    if device.type != "cpu":
        return []
    direct = "direct sums over all pairs of positions"
    return [
        Check("autocorrelation of images and maps", direct, 1e-12, _autocorrelation),
        Check("patch autocovariance of small images", direct, 1e-12, _small_lags),
        Check("patch autocovariance of large images", direct, 1e-12, _large_lags),
        Check(
            "average patches, component energies", "sums of unfolded patches", 1e-12, _statistics
        ),
        Check("class correlations", "Python's statistics.correlation", 1e-12, _classes),
        Check("tiled patches", "each patch at its position", 1e-6, _tiles),
        Check("images of dead leaves", "stored gray levels", 0.05, _leaves),
    ]


def _autocorrelation() -> Deviations:
    images = smooth_images(4, 3, 9, 14)
    maps = noise(3, 5, 10, 8).astype(np.float32) / 100
    for case, given, read in (("images", images, images / 255), ("maps", maps, maps)):
        actual = autocorrelation(torch.from_numpy(given), max_shift=4)
        expected = references.autocorrelation(read.astype(float), 4)
        yield case, max_difference(actual.map, expected)
        mean = (expected[4, 4:] + expected[4:, 4]) / 2
        yield f"{case}, mean of both axes", max_difference(actual.curve, mean)


def _small_lags() -> Deviations:
    images = smooth_images(5, PATCH[0], 8, 9)
    for case, given in (("bytes", images), ("float64", images / 255)):
        yield case, _lags(given, PATCH[1:], 3)


def _large_lags() -> Deviations:
    yield "bytes", _lags(smooth_images(2, 1, LARGE_SIDE, LARGE_SIDE), (2, 2), 2)


def _lags(images: NDArray[Any], patch: tuple[int, int], max_shift: int) -> float:
    read = images / 255 if images.dtype == np.uint8 else images
    actual = patch_autocovariance(torch.from_numpy(images), patch, max_shift=max_shift)
    return relative_difference(
        actual.values, references.patch_autocovariance(read, patch, max_shift)
    )


def _statistics() -> Deviations:
    images, patch = smooth_images(6, PATCH[0], 7, 8), PATCH[1:]
    patches = references.patches_of(images / 255, patch)
    given = torch.from_numpy(images)
    averages = patches.mean(1)
    yield "average patches", relative_difference(average_patches(given, patch), averages)
    shuffled = average_shuffled_patches(given, patch)
    yield "mean of shuffled patches", relative_difference(shuffled.mean(0), averages.mean(0))
    d = patches.shape[-1]
    mixing, mean = noise(d, d) / 128 - 1, patches.mean((0, 1))
    nothing = torch.zeros(d, dtype=torch.float64)
    basis = PatchBasis(torch.from_numpy(mixing), nothing, torch.from_numpy(mean), PATCH, True, 1)
    along = references.multiply((patches - mean).reshape(-1, d), mixing.T)
    expected = (along**2).reshape(len(images), -1, d).sum(1)
    yield "component energies", relative_difference(component_energies(given, basis), expected)


def _classes() -> Deviations:
    values, labels = noise(60, 4) / 256, noise(60, seed=1) % 3
    actual = class_correlations(torch.from_numpy(values), torch.from_numpy(labels).long(), 3)
    for label in range(3):
        member = (labels == label).astype(float).tolist()
        for column in range(4):
            expected = statistics.correlation(member, values[:, column].tolist())
            yield f"class {label}", abs(float(actual[label, column]) - expected)


def _tiles() -> Deviations:
    (channels, kh, kw), d = PATCH, math.prod(PATCH)
    images = smooth_images(2, channels, 6, 7).astype(np.float32) / np.float32(255)
    matrix = noise(d, d) / 128 - 1
    patches = references.patches_of(images, (kh, kw))
    changed = references.multiply(patches.reshape(-1, d), matrix.T)
    rows, columns = 6 - kh + 1, 7 - kw + 1
    order = changed.reshape(2, rows, columns, channels, kh, kw).transpose(0, 3, 1, 4, 2, 5)
    expected = order.reshape(2, channels, rows * kh, columns * kw)
    transform = PatchTransform(torch.from_numpy(matrix), PATCH)
    yield (
        "2 images 6x7",
        relative_difference(tile_patches(torch.from_numpy(images), transform), expected),
    )


def leaves() -> NDArray[np.float64]:
    """Return the (3, 4, 4) mean gray levels of the parts of a small image of dead leaves."""
    image = render_canvas(SHAPES[:4], np.random.default_rng(0)).astype(float)
    means: NDArray[np.float64] = image.reshape(4, 16, 4, 16, 3).mean((1, 3)).transpose(2, 0, 1)
    return means


def _leaves() -> Deviations:
    yield "an image of 64x64 pixels", max_difference(leaves(), stored()["leaves"])
