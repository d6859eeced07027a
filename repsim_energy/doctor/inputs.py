"""Inputs of the checks, the same on every machine."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["features", "noise", "smooth_images"]

Bytes = NDArray[np.uint8]
Array = NDArray[np.float64]


def noise(*shape: int, seed: int = 0) -> Bytes:
    """Return pseudorandom bytes from a hash function, independent of random generators.

    Examples
    --------
    >>> noise(4, seed=1).tolist()
    [47, 22, 159, 155]
    """
    digits = hashlib.shake_256(str(seed).encode()).digest(math.prod(shape))
    return np.frombuffer(digits, np.uint8).reshape(shape).copy()


def smooth_images(count: int, channels: int, height: int, width: int, seed: int = 0) -> Bytes:
    """Return (n, c, h, w) images in which neighboring pixels and channels are correlated."""
    rough = noise(count, channels, height + 2, width + 2, seed=seed).astype(np.int64)
    rough = rough + rough[:, :1]
    rows = rough[:, :, :-2] + rough[:, :, 1:-1] + rough[:, :, 2:]
    smooth = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    images: Bytes = (smooth // 6 - 255).clip(0, 255).astype(np.uint8)
    return images


def features(count: int, first: int, second: int) -> tuple[Array, Array]:
    """Return correlated, nonnegative (n, d1) and (n, d2) features.

    They are float32 numbers that use all digits, so that products of lower precision differ.
    """
    x = noise(count, first, seed=1) / 20 - 5
    y = x[:, np.arange(second) % first] + noise(count, second, seed=2) / 20 - 5
    x, y = ((part * np.pi).clip(0).astype(np.float32).astype(np.float64) for part in (x, y))
    return x, y
