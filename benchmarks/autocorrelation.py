"""The autocorrelation of a filter bank's responses, against convolving and shifting.

Run: python benchmarks/autocorrelation.py [--json] [--threads 2] [--rounds 5]

64 filters, shifts 0 to 10 along rows and -10 to 10 along columns (231). The peers are timed on a
part of the images and their time is multiplied, marked (e).
"""

import statistics

import torch
import torch.nn.functional as F
from measure import alternate, options, ratio, report
from pictures import pictures

from repsim_energy.numerics.autocorrelation.autocorrelation import (
    autocorrelation,
    patch_autocovariance,
)

COUNT, FILTERS, SHIFT = 10_000, 64, 10
PART = 250


def shifting(images, bank):
    """Convolve, then multiply the maps with themselves at each shift."""
    maps = F.conv2d(images.float() / 255, bank)
    maps = maps - maps.mean((0, 2, 3), keepdim=True)
    height, width = maps.shape[2:]
    lags = torch.empty(SHIFT + 1, 2 * SHIFT + 1)
    for dy in range(SHIFT + 1):
        for dx in range(-SHIFT, SHIFT + 1):
            low, high = max(0, -dx), min(width, width - dx)
            here = maps[:, :, : height - dy, low:high]
            there = maps[:, :, dy:, low + dx : high + dx]
            lags[dy, dx + SHIFT] = (here * there).mean()
    return lags / lags[0, SHIFT]


def by_spectra(images, bank):
    """Convolve, then Fourier-transform the maps: the way that also serves after a nonlinearity."""
    return autocorrelation(F.conv2d(images.float() / 255, bank), max_shift=SHIFT)


def rows(k, rounds):
    images = pictures(COUNT, 32)
    bank = torch.randn(FILTERS, 3, k, k, generator=torch.Generator().manual_seed(0))
    moments = patch_autocovariance(images, (k, k), max_shift=SHIFT)
    part = images[:PART]
    here = patch_autocovariance(part, (k, k), max_shift=SHIFT).autocorrelation(bank).map[SHIFT:]
    error = float((here - shifting(part, bank)).abs().max())
    taken = alternate(
        {
            "first bank": lambda: patch_autocovariance(
                images, (k, k), max_shift=SHIFT
            ).autocorrelation(bank),
            "further bank": lambda: moments.autocorrelation(bank),
            "shifting (e)": lambda: shifting(part, bank),
            "spectra (e)": lambda: by_spectra(part, bank),
        },
        rounds,
    )
    for ours in ("first bank", "further bank"):
        for peer in ("shifting (e)", "spectra (e)"):
            median, low, high = ratio([COUNT / PART * t for t in taken[peer]], taken[ours])
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
