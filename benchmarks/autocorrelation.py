"""Time the spatial autocorrelation of the outputs of a filter bank.

Against: convolution, then products of shifted maps; and convolution, then Fourier transforms. Both
are timed on 250 of the images and their time is multiplied, marked (e).
Sizes: 10,000 images of 32x32, 64 filters of 3x3 and 7x7, 231 shifts (rows 0 to 10, columns -10 to
10).

Run: python benchmarks/autocorrelation.py [--json] [--threads 2] [--rounds 5]
"""

import statistics

import torch
import torch.nn.functional as F
from measure import alternate, options, ratio, report
from smooth_images import smooth_images

from repsim_energy.numerics.autocorrelation.autocorrelation import (
    autocorrelation,
    patch_autocovariance,
)

IMAGES, FILTERS, MAX_SHIFT = 10_000, 64, 10
PEER_IMAGES = 250


def shifting(images, bank):
    """Convolve, then multiply the maps by themselves at each shift."""
    maps = F.conv2d(images.float() / 255, bank)
    maps = maps - maps.mean((0, 2, 3), keepdim=True)
    height, width = maps.shape[2:]
    lags = torch.empty(MAX_SHIFT + 1, 2 * MAX_SHIFT + 1)
    for dy in range(MAX_SHIFT + 1):
        for dx in range(-MAX_SHIFT, MAX_SHIFT + 1):
            low, high = max(0, -dx), min(width, width - dx)
            here = maps[:, :, : height - dy, low:high]
            there = maps[:, :, dy:, low + dx : high + dx]
            lags[dy, dx + MAX_SHIFT] = (here * there).mean()
    return lags / lags[0, MAX_SHIFT]


def by_spectra(images, bank):
    """Convolve, then Fourier-transform the maps, which also works after a nonlinearity."""
    return autocorrelation(F.conv2d(images.float() / 255, bank), max_shift=MAX_SHIFT)


def rows(k, rounds):
    images = smooth_images(IMAGES, 32)
    bank = torch.randn(FILTERS, 3, k, k, generator=torch.Generator().manual_seed(0))
    moments = patch_autocovariance(images, (k, k), max_shift=MAX_SHIFT)
    part = images[:PEER_IMAGES]
    ours = patch_autocovariance(part, (k, k), max_shift=MAX_SHIFT).autocorrelation(bank).map
    error = float((ours[MAX_SHIFT:] - shifting(part, bank)).abs().max())
    taken = alternate(
        {
            "first bank": lambda: patch_autocovariance(
                images, (k, k), max_shift=MAX_SHIFT
            ).autocorrelation(bank),
            "further bank": lambda: moments.autocorrelation(bank),
            "shifting (e)": lambda: shifting(part, bank),
            "spectra (e)": lambda: by_spectra(part, bank),
        },
        rounds,
    )
    for ours in ("first bank", "further bank"):
        for peer in ("shifting (e)", "spectra (e)"):
            median, low, high = ratio([IMAGES / PEER_IMAGES * t for t in taken[peer]], taken[ours])
            yield {
                "k": k,
                "ours": ours,
                "peer": peer,
                "ours_ms": 1e3 * statistics.median(taken[ours]),
                "ratio": median,
                "lowest": low,
                "highest": high,
                "largest_difference": error,
            }


def main():
    chosen = options(__doc__)
    report([row for k in (3, 7) for row in rows(k, chosen.rounds)], chosen.json)


if __name__ == "__main__":
    main()
