"""Inputs of the checks: numbers that are the same on every machine, whatever is wrong there."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["features", "noise", "pictures"]

Bytes = NDArray[np.uint8]
Array = NDArray[np.float64]


def noise(*shape: int, seed: int = 0) -> Bytes:
    """Return bytes that look random: the digits of a hash function, not of a generator.

    Examples
    --------
    >>> noise(4, seed=1).tolist()
    [47, 22, 159, 155]
    """
    digits = hashlib.shake_256(str(seed).encode()).digest(math.prod(shape))
    return np.frombuffer(digits, np.uint8).reshape(shape).copy()


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0) -> Bytes:
    """Return (n, c, h, w) images in which neighboring pixels, and the channels, are alike."""
    rough = noise(count, channels, height + 2, width + 2, seed=seed).astype(np.int64)
    rough = rough + rough[:, :1]
    rows = rough[:, :, :-2] + rough[:, :, 1:-1] + rough[:, :, 2:]
    smooth = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    images: Bytes = (smooth // 6 - 255).clip(0, 255).astype(np.uint8)
    return images


def features(count: int, first: int, second: int) -> tuple[Array, Array]:
    """Return (n, d1) and (n, d2) features that are somewhat alike, never below zero.

    They are numbers of float32 that use all of its digits, so that products in fewer show.
    """
    x = noise(count, first, seed=1) / 20 - 5
    y = x[:, np.arange(second) % first] + noise(count, second, seed=2) / 20 - 5
    x, y = ((part * np.pi).clip(0).astype(np.float32).astype(np.float64) for part in (x, y))
    return x, y
