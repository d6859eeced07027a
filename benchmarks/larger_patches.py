"""Time comparisons of filters in larger patches, with the default nulls and intervals.

Six banks of 64 random 3x3 filters on 500 images of 32x32, in their own patches and placed in those
of 5x5, 7x7 and 11x11 pixels. The ways alternate, and every ratio is of one round.

Run: python benchmarks/larger_patches.py [--json] [--threads 2] [--rounds 5]
"""

import statistics
import warnings
from functools import partial

import torch
from measure import alternate, options, ratio, report
from smooth_images import smooth_images

import repsim_energy as rs

PATCHES = ("auto", "5x5", "7x7", "11x11")


def main():
    chosen = options(__doc__)
    warnings.simplefilter("ignore")  # random filters are no networks
    generator = torch.Generator().manual_seed(0)
    banks = [torch.randn(64, 3, 3, 3, generator=generator) for _ in range(6)]
    images = smooth_images(500, 32)
    runs = {patch: partial(rs.compare, banks, images, patch=patch) for patch in PATCHES}
    taken = alternate(runs, chosen.rounds)
    rows = []
    for patch, seconds in taken.items():
        median, low, high = ratio(seconds, taken["auto"])
        rows.append(
            {
                "patch": "3x3, their own" if patch == "auto" else patch,
                "seconds": statistics.median(seconds),
                "to_their_own": median,
                "lowest": low,
                "highest": high,
            }
        )
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
