"""Energy profiles of many networks, and what pairs of them have in common."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from strangers_files import in_gray

import repsim_energy as rs

__all__ = [
    "GROUPS",
    "Measured",
    "Pair",
    "lineages",
    "measure",
    "measure_all",
    "pairs_of",
    "summary",
]

COMMON_WEIGHTS = 0.3
"""Two banks of one shape whose weights, entry by entry, correlate more have a common ancestor or
common initial weights: unrelated ones correlate with a standard deviation of 0.12 or less."""

GROUPS = {
    "common weights": None,
    "same family, same task": (True, True),
    "other family, same task": (False, True),
    "same family, other task": (True, False),
    "other family, other task": (False, False),
}


@dataclass(frozen=True)
class Measured:
    """Profiles of networks that see patches of one shape, on the patch basis of an image set."""

    networks: list
    basis: rs.PatchBasis
    profiles: np.ndarray

    @cached_property
    def similarities(self):
        return rs.profile_similarities(self.profiles)

    @cached_property
    def fits(self):
        return rs.fit_profiles(self.profiles, self.basis.eigenvalues)

    @cached_property
    def beside_theory(self):
        """The correlations of what is left of the profiles when their fitted curves are out."""
        left = []
        for profile, fit in zip(self.profiles, self.fits, strict=True):
            curve = fit.profile - fit.profile.mean()
            left.append(profile - profile.mean() - curve * (profile @ curve) / (curve @ curve))
        return rs.profile_similarities(left)


@dataclass(frozen=True)
class Pair:
    """Two networks, the group that they belong to and what was found of them."""

    names: tuple
    patch: tuple
    group: str
    sources: frozenset
    r: float
    beside: float
    fit: float
    band: float


def measure(networks, images, *, folded=False):
    """Return the profiles of networks of one patch shape on the basis of images."""
    patch = networks[0].patch
    shown = images if patch[0] == images.shape[1] else in_gray(images)
    basis = rs.patch_moments(shown, patch[1:]).basis()
    banks = [network.folded if folded else network.filters for network in networks]
    return Measured(networks, basis, np.stack([rs.energy_profile(bank, basis) for bank in banks]))


def measure_all(networks, images, **how):
    """Return patch -> profiles of all networks that see such patches."""
    by_patch = defaultdict(list)
    for network in networks:
        by_patch[network.patch].append(network)
    return {patch: measure(some, images, **how) for patch, some in by_patch.items()}


def weights_correlate(one, other):
    """Return whether two banks have one shape and weights that are not independent."""
    if one.shape != other.shape:
        return False
    return (
        float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]) > COMMON_WEIGHTS
    )


def lineages(networks):
    """Return name -> number; those of one number have weights in common, directly or by others."""
    number = {network.name: index for index, network in enumerate(networks)}
    for one, other in combinations(networks, 2):
        if weights_correlate(one.filters, other.filters):
            old, new = number[other.name], number[one.name]
            number = {name: new if n == old else n for name, n in number.items()}
    return number


def group_of(one, other, lineage):
    """Return the group that a pair of networks belongs to."""
    if lineage[one.name] == lineage[other.name]:
        return "common weights"
    same = (one.family == other.family, one.task == other.task)
    return next(name for name, wanted in GROUPS.items() if wanted == same)


def pairs_of(measured, lineage):
    """Return all pairs of networks that see patches of one shape."""
    found = []
    for patch, some in measured.items():
        r, fits = some.similarities, [fit.correlation for fit in some.fits]
        beside, band = some.beside_theory, rs.pearson_null_interval(len(some.basis.eigenvalues))[1]
        for (i, one), (j, other) in combinations(enumerate(some.networks), 2):
            group, sources = group_of(one, other, lineage), frozenset({one.source, other.source})
            fit = min(fits[i], fits[j])
            pair = (one.name, other.name), patch, group, sources, r[i, j], beside[i, j], fit, band
            found.append(Pair(*pair))
    return found


def summary(pairs):
    """Return how the correlations of pairs are distributed."""
    r = np.array([pair.r for pair in pairs])
    low, median, high = np.quantile(r, [0.25, 0.5, 0.75])
    apart = [pair.r for pair in pairs if len(pair.sources) == 2]
    return {
        "pairs": len(pairs),
        "of two sources": len(apart),
        "lower quartile": low,
        "median": median,
        "upper quartile": high,
        "above 0.8": np.mean(r > 0.8),
        "above the band": np.mean([pair.r > pair.band for pair in pairs]),
        "beside the theory": np.median([pair.beside for pair in pairs]),
        "lower fit": np.median([pair.fit for pair in pairs]),
        "median of two sources": np.median(apart) if apart else np.nan,
    }
