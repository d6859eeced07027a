"""Time the fit of the theoretical profile over t, and the similarity of all pairs of profiles.

Against: the published scan of 20,000 steps; similarity pair by pair, timed on a twentieth of the
pairs and multiplied, marked (e).
Sizes: 360 profiles of 27 and 147 components; 1,000 profiles in pairs.

Run: python benchmarks/profile_fit.py [--json] [--threads 2] [--rounds 5]
"""

import statistics
import time

import numpy as np
from measure import alternate, options, ratio, report

from repsim_energy.comparison.pairs import compare_pairs
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.numerics.profiles.fit import fit_profile, fit_profiles
from repsim_energy.numerics.profiles.theory import theoretical_profile

STEPS = 20_000
PROFILES = 360


def scan(profile, variance):
    """Try every t in turn, as the published code does."""
    eta, best = 0.5 / variance.max(), -1.0
    for t in range(1, STEPS + 1):
        curve = np.abs(1 - (1 - eta * variance) ** t) / (eta**2 * variance) * np.sqrt(variance)
        best = max(best, np.corrcoef(profile, curve)[0, 1])
    return best


def drawn(components, count):
    rng = np.random.default_rng(0)
    variance = np.geomspace(1.3, 1e-5, components)
    steps = np.exp(rng.uniform(0, 13, count))
    curves = theoretical_profile(variance, step_size=0.3, steps=steps)
    return variance, curves * np.exp(0.2 * rng.normal(size=curves.shape))


def fits(components, rounds):
    variance, profiles = drawn(components, PROFILES)
    taken = alternate(
        {
            "scan": lambda: scan(profiles[0], variance),
            "one": lambda: fit_profile(profiles[0], variance),
            "many": lambda: fit_profiles(profiles, variance),
        },
        rounds,
    )
    median, low, high = ratio(taken["scan"], taken["one"])
    gain = fit_profile(profiles[0], variance).correlation - scan(profiles[0], variance)
    return {
        "components": components,
        "ours_ms": 1e3 * statistics.median(taken["one"]),
        "each_of_many_us": 1e6 * statistics.median(taken["many"]) / PROFILES,
        "ratio": median,
        "lowest": low,
        "highest": high,
        "correlation_gained": gain,
    }


def pairs(rounds):
    profiles = np.random.default_rng(0).random((1000, 27))
    indexed = {(index,): profile for index, profile in enumerate(profiles)}
    metric = EnergyProfileCorrelation()

    def one_by_one():
        for i in range(0, 1000, 20):  # a twentieth of the rows
            for j in range(i, 1000):
                profile_similarity(profiles[i], profiles[j])

    taken = alternate(
        {"all": lambda: compare_pairs(metric, indexed, (1000,), len), "loop (e)": one_by_one},
        rounds,
    )
    median, low, high = ratio([20 * t for t in taken["loop (e)"]], taken["all"])
    return {
        "similarity matrix of": "1,000 profiles, with null intervals",
        "ours_ms": 1e3 * statistics.median(taken["all"]),
        "against pair by pair (e)": median,
        "lowest": low,
        "highest": high,
    }


def main():
    chosen = options(__doc__)
    start = time.perf_counter()
    rows = [*(fits(components, chosen.rounds) for components in (27, 147)), pairs(chosen.rounds)]
    report([*rows, {"seconds_in_all": time.perf_counter() - start}], chosen.json)


if __name__ == "__main__":
    main()
