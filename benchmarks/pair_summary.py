"""Measure the summary of the similarities of thousands of profiles of 27 components.

What: `moments_of_pairs` over the blocks of all pairs, as `pairs="summary"` calls it, in time and
memory; and `rs.compare` of as many filter banks, summarized in ten groups.
Against: the array of all similarities, reduced, at the same number of profiles.

Run: python benchmarks/pair_summary.py [--json] [--profiles 5000] [--rounds 5]
"""

import statistics
import time

import numpy as np
import torch
from measure import alternate, options, peak_memory, report

import repsim_energy as rs
from repsim_energy.numerics.inference.pair_moments import moments_of_pairs
from repsim_energy.numerics.profiles.energy import profile_similarities

GROUPS = 10


def profiles_of(count):
    return np.random.default_rng(0).random((count, 27))


def in_blocks(count):
    profiles, groups = profiles_of(count), np.arange(count) % GROUPS

    def values(i, j):
        return profile_similarities(profiles[np.concatenate([i, j])])[: len(i), len(i) :]

    return lambda: moments_of_pairs(groups, GROUPS, values)


def at_once(count):
    """Return the mean and the standard deviation of each pair of groups from one array."""
    profiles, groups = profiles_of(count), np.arange(count) % GROUPS

    def reduce():
        values = profile_similarities(profiles)
        values[np.tril_indices(count)] = np.nan
        values = np.fmax(values, values.T)
        of = [np.flatnonzero(groups == g) for g in range(GROUPS)]
        blocks = [[values[np.ix_(a, b)] for b in of] for a in of]
        return [[(np.nanmean(one), np.nanstd(one, ddof=1)) for one in row] for row in blocks]

    return reduce


def compared(count):
    generator = torch.Generator().manual_seed(0)
    banks = {str(n): torch.randn(16, 3, 3, 3, generator=generator) for n in range(count)}
    images = torch.randint(0, 256, (200, 3, 16, 16), generator=generator).to(torch.uint8)
    groups = {name: f"group {int(name) % GROUPS}" for name in banks}
    return lambda: rs.compare(banks, images, pairs=groups, progress=False)


def main():
    chosen = options(__doc__, profiles=5000)
    count = chosen.profiles
    taken = alternate({"blocks": in_blocks(count), "array": at_once(count)}, chosen.rounds)
    start = time.perf_counter()
    compared(count)()
    whole = time.perf_counter() - start
    rows = [
        {
            "what": "summary in blocks",
            "seconds": statistics.median(taken["blocks"]),
            "MB": peak_memory(in_blocks, count),
            "MB at half as many": peak_memory(in_blocks, count // 2),
        },
        {
            "what": "array of all pairs, reduced",
            "seconds": statistics.median(taken["array"]),
            "MB": peak_memory(at_once, count),
            "MB at half as many": peak_memory(at_once, count // 2),
        },
        {
            "what": "rs.compare with groups",
            "seconds": whole,
            "MB": peak_memory(compared, count),
            "MB at half as many": peak_memory(compared, count // 2),
        },
    ]
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
