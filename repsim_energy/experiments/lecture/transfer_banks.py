"""Filter banks of one patch size: whole frames, and parts of frames with equally many filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from repsim_energy.interfaces import Dataset, PatchBasis
from repsim_energy.models.crbm import crbm
from repsim_energy.numerics.frames.bank import OF_IMAGES, frame_bank

__all__ = ["WHOLE", "crbm_bank", "parts_of_frames", "random_bank", "whole_bank"]

Builder = Callable[[PatchBasis], Tensor]

WHOLE = ("dct", "fourier", "haar", "db4", "pca", "whitening", "gabor", "curvelet")
"""Frames that nothing random is in."""

ORIENTATIONS = 12
"""Of the Gabor functions, so that on 5x5 pixels they are as many as a patch has numbers."""

REGIONS = ("coarse", "middle", "fine")
"""Thirds of a frame, in the order of its filters."""

COLORS = ("gray", "red-blue", "magenta-green")
"""Colors of the filters of a frame for three channels."""


def whole_bank(name: str, basis: PatchBasis) -> Tensor:
    """Return the filters of a frame, of ``whitening`` one of each pair with opposite signs.

    Features have both signs of a response, so that the other one would add the same again.
    """
    options = {"orientations": ORIENTATIONS} if name == "gabor" else {}
    given = basis if name in OF_IMAGES else None
    channels, height, width = basis.patch
    bank = frame_bank(name, channels, (height, width), basis=given, **options)
    return bank[::2] if name == "whitening" else bank


def random_bank(basis: PatchBasis, seed: int, filters: int | None = None) -> Tensor:
    """Return random filters, by default as many as a patch has numbers."""
    channels, height, width = basis.patch
    count = filters or channels * height * width
    return frame_bank("random", channels, (height, width), seed=seed, filters=count)


def crbm_bank(data: Dataset, basis: PatchBasis, seed: int, steps: int) -> Tensor:
    """Return the filters of ``crbm``, as many as a gray patch has numbers. All are gray."""
    channels, height, width = basis.patch
    size, count = f"{height}x{width}", height * width
    trained = crbm(10, channels, data.train, patch=size, filters=count, steps=steps, seed=seed)
    filters: Tensor = next(trained.module.parameters()).detach()
    return filters


def _size(basis: PatchBasis) -> int:
    """Return the filters of a part in each color: a third of the pixels of a patch."""
    return basis.patch[1] * basis.patch[2] // 3


def _by_color(name: str, basis: PatchBasis) -> Tensor:
    """Return the filters of a frame as (colors, filters of each color, c, h, w)."""
    bank = whole_bank(name, basis)
    return bank.reshape(basis.patch[0], -1, *bank.shape[1:])


def _third(bank: Tensor, number: int, size: int) -> Tensor:
    """Return filters at equal distances within a third of a bank, along its first axis."""
    first, last = number * len(bank) / 3, (number + 1) * len(bank) / 3 - 1
    return bank[np.unique(np.linspace(first, last, size).round().astype(int))]


def _third_of_each_color(basis: PatchBasis, name: str, number: int) -> Tensor:
    colors = _by_color(name, basis).transpose(0, 1)
    return _third(colors, number, _size(basis)).flatten(0, 1)


def _third_of_all(basis: PatchBasis, name: str, number: int) -> Tensor:
    return _third(whole_bank(name, basis), number, _size(basis) * basis.patch[0])


def _color(basis: PatchBasis, name: str, color: int) -> Tensor:
    """Return the filters of one of the three colors, without the constant one."""
    return _by_color(name, basis)[color, 1 : 1 + 3 * _size(basis)]


def _some_of_each_color(basis: PatchBasis, name: str, places: Sequence[int]) -> Tensor:
    return _by_color(name, basis)[:, list(places)].flatten(0, 1)


def _orientations(first: int) -> list[int]:
    """Return the places of the Gabor functions of every third orientation."""
    chosen = range(first, ORIENTATIONS, 3)
    return [1 + 2 * orientation + phase for orientation in chosen for phase in (0, 1)]


def parts_of_frames(channels: int) -> Iterator[tuple[str, str, Builder]]:
    """Yield frame, name and builder of each part. On 5x5 color patches, all have 24 filters.

    Single colors are parts of images with three channels alone.
    """
    for number, region in enumerate(REGIONS):
        for name in ("dct", "fourier", "haar", "db4"):
            build = partial(_third_of_each_color, name=name, number=number)
            yield name, f"{name}, {region}", build
        for name in ("pca", "whitening"):
            yield name, f"{name}, {region}", partial(_third_of_all, name=name, number=number)
    for number, color in enumerate(COLORS if channels == len(COLORS) else ()):
        for name in ("dct", "haar"):
            yield name, f"{name}, {color}", partial(_color, name=name, color=number)
    for first in range(3):
        build = partial(_some_of_each_color, name="gabor", places=_orientations(first))
        yield "gabor", f"gabor, orientations from {180 // ORIENTATIONS * first} degrees", build
    for first in (1, 5):  # imaginary and real part of four of six wedges
        build = partial(_some_of_each_color, name="curvelet", places=range(first, first + 8))
        yield "curvelet", f"curvelet, wedges from {first // 2 + 1}", build
    for seed in range(3):
        yield "random", f"random, seed {seed}", partial(_random_part, seed=seed)


def _random_part(basis: PatchBasis, seed: int) -> Tensor:
    return random_bank(basis, seed, filters=_size(basis) * basis.patch[0])
