"""Reference definitions for the checks: slow, without torch and without BLAS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = [
    "autocorrelation",
    "cka",
    "cka_of_batches",
    "gradient_descent",
    "patch_autocovariance",
    "multiply",
    "patch_sums",
    "patches_of",
    "theoretical_profile",
]

Array = NDArray[np.float64]
Patch = tuple[int, int]


def multiply(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the (m, n) product of (m, k) and (k, n), summed by NumPy's own loops."""
    product: NDArray[Any] = np.einsum("ik,kj->ij", left, right, optimize=False)
    return product


def patches_of(images: NDArray[Any], patch: Patch) -> NDArray[Any]:
    """Return (n, positions, d) patches, flattened channel-first, as int64 or float64.

    Examples
    --------
    >>> patches_of(np.arange(4).reshape(1, 1, 2, 2), (1, 2)).tolist()
    [[[0, 1], [2, 3]]]
    """
    windows = sliding_window_view(images, patch, axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    count, rows, columns, *kind = windows.shape
    wide = np.int64 if images.dtype.kind in "iu" else np.float64
    return windows.reshape(count, rows * columns, np.prod(kind)).astype(wide)


def patch_sums(images: NDArray[Any], patch: Patch) -> tuple[int, NDArray[Any], NDArray[Any]]:
    """Return the number, (d,) sum and (d, d) second moment of all patches."""
    patches = patches_of(images, patch).reshape(-1, images.shape[1] * patch[0] * patch[1])
    return len(patches), patches.sum(0), multiply(patches.T, patches)


def patch_autocovariance(images: Array, patch: Patch, max_shift: int) -> Array:
    """Return the (2m + 1, 2m + 1, d, d) means of (p(i) - mean) (p(i + shift) - mean)ᵀ."""
    patches = patches_of(images, patch)
    rows, columns = (s - k + 1 for s, k in zip(images.shape[2:], patch, strict=True))
    maps = (patches - patches.mean((0, 1))).reshape(len(images), rows, columns, -1)
    shifts = range(-max_shift, max_shift + 1)
    moments = []
    for down, right in itertools.product(shifts, shifts):
        first = maps[
            :, max(0, -down) : rows - max(0, down), max(0, -right) : columns - max(0, right)
        ]
        second = maps[
            :, max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)
        ]
        first, second = (part.reshape(-1, patches.shape[-1]) for part in (first, second))
        moments.append(multiply(first.T, second) / len(first))
    d = patches.shape[-1]
    return np.stack(moments).reshape(len(shifts), len(shifts), d, d)


def autocorrelation(maps: Array, max_shift: int) -> Array:
    """Return the (2m + 1, 2m + 1) autocorrelation of vector-valued maps, 1 at shift zero."""
    moments = patch_autocovariance(maps, (1, 1), max_shift).trace(axis1=2, axis2=3)
    lags: Array = moments / moments[max_shift, max_shift]
    return lags


def cka(x: Array, y: Array, estimator: str) -> float:
    """Return linear CKA by the definitions of Kornblith et al. (2019) and Song et al. (2012)."""
    return cka_of_batches([(x, y)], estimator)


def cka_of_batches(batches: Sequence[tuple[Array, Array]], estimator: str) -> float:
    """Return CKA from HSIC estimates summed over batches."""
    hsic = _song if estimator == "debiased" else _biased
    kernels = [(multiply(x, x.T), multiply(y, y.T)) for x, y in batches]
    xy, xx, yy = (
        sum(hsic(pair[a], pair[b]) for pair in kernels) for a, b in ((0, 1), (0, 0), (1, 1))
    )
    return float(xy / np.sqrt(xx * yy))


def _biased(k: Array, m: Array) -> float:
    """Return the sum of products of two kernels whose rows and columns are centered."""
    k, m = (g - g.mean(0) - g.mean(1)[:, None] + g.mean() for g in (k, m))
    return float((k * m).sum())


def _song(k: Array, m: Array) -> float:
    """Return HSIC_1, Equation 5 of Song et al. (2012)."""
    n = len(k)
    k, m = (g - np.diag(np.diag(g)) for g in (k, m))
    ends = k.sum() * m.sum() / ((n - 1) * (n - 2))
    middle = 2 / (n - 2) * (k.sum(0) * m.sum(0)).sum()
    return float(((k * m).sum() + ends - middle) / (n * (n - 3)))


def theoretical_profile(eigenvalues: Array, step_size: float, steps: int) -> Array:
    """Return the profile of the linear CNN by summing its geometric series."""
    total, power = np.zeros_like(eigenvalues), np.ones_like(eigenvalues)
    for _ in range(steps):
        total += power
        power = power * (1 - step_size * eigenvalues)
    curve: Array = total * np.sqrt(eigenvalues)
    return curve


def gradient_descent(
    filters: Array, average_patches: Array, targets: Array, step_size: float, steps: int
) -> Array:
    """Return (k, d) filters after gradient descent on the mean squared error."""
    for _ in range(steps):
        outputs = multiply(average_patches, filters.T).sum(1)
        gradient = multiply(average_patches.T, (outputs - targets)[:, None])[:, 0]
        filters = filters - step_size * 2 / len(targets) * gradient
    return filters
