"""Energy profiles of many networks, and pairs of these networks, for strangers.py."""

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

MIN_COMMON_CORRELATION = 0.3
"""Correlation of weights from which two banks count as having a common ancestor or start.

Correlations of unrelated banks have a standard deviation of at most 0.12."""

GROUPS = {
    "common weights": None,
    "same family, same task": (True, True),
    "other family, same task": (False, True),
    "same family, other task": (True, False),
    "other family, other task": (False, False),
}


@dataclass(frozen=True)
class Measured:
    """Profiles of networks with one patch shape, on the patch basis of an image set."""

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
        """Correlations of the residuals of the profiles after removal of their fitted curves."""
        left = []
        for profile, fit in zip(self.profiles, self.fits, strict=True):
            curve = fit.profile - fit.profile.mean()
            left.append(profile - profile.mean() - curve * (profile @ curve) / (curve @ curve))
        return rs.profile_similarities(left)


@dataclass(frozen=True)
class Pair:
    """Two networks, their group and their similarity."""

    names: tuple
    patch: tuple
    group: str
    sources: frozenset
    r: float
    beside: float
    fit: float
    band: float


def measure(networks, images, *, folded=False):
    """Measure networks of one patch shape on the basis of images."""
    patch = networks[0].patch
    shown = images if patch[0] == images.shape[1] else in_gray(images)
    basis = rs.patch_moments(shown, patch[1:]).basis()
    banks = [network.folded if folded else network.filters for network in networks]
    return Measured(networks, basis, np.stack([rs.energy_profile(bank, basis) for bank in banks]))


def measure_all(networks, images, **how):
    """Measure all networks; return patch shape -> profiles."""
    by_patch = defaultdict(list)
    for network in networks:
        by_patch[network.patch].append(network)
    return {patch: measure(some, images, **how) for patch, some in by_patch.items()}


def weights_correlate(one, other):
    """Return whether two banks have equal shapes and correlated weights."""
    if one.shape != other.shape:
        return False
    correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
    return float(correlation) > MIN_COMMON_CORRELATION


def lineages(networks):
    """Return name -> number of its lineage, the networks linked by common weights."""
    number = {network.name: index for index, network in enumerate(networks)}
    for one, other in combinations(networks, 2):
        if weights_correlate(one.filters, other.filters):
            old, new = number[other.name], number[one.name]
            number = {name: new if n == old else n for name, n in number.items()}
    return number


def group_of(one, other, lineage):
    """Return the group of a pair of networks."""
    if lineage[one.name] == lineage[other.name]:
        return "common weights"
    same = (one.family == other.family, one.task == other.task)
    return next(name for name, wanted in GROUPS.items() if wanted == same)


def pairs_of(measured, lineage):
    """Return all pairs of networks with equal patch shapes."""
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
    """Return quantiles of the correlations of pairs."""
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
