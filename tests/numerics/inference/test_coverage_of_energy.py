"""Coverage of the intervals of the similarity of energy profiles, in simulated studies.

Every study draws images, and networks of two models. The number that its interval has to contain is
the mean similarity of many networks on the components of all images there could be.
"""

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.numerics.inference.half_samples import half_samples
from repsim_energy.numerics.inference.two_factor import between, interval, two_factor

PATCH = (1, 3, 3)
SIZE, FILTERS, NETWORKS, STUDIES = 9, 24, 5, 1000
GROUPS, IMAGES, PATCHES = 20, 4, 10  # in each group, of each image

COSINES = np.linalg.qr(np.vander(np.linspace(-1, 1, 3), increasing=True))[0]
AXES = np.kron(COSINES, COSINES).T
EIGENVALUES = np.geomspace(1.0, 0.02, SIZE)[np.argsort(np.add.outer(range(3), range(3)).ravel())]
ROOT = AXES.T * np.sqrt(EIGENVALUES)


def banks(random, power, shape):
    """Return filters (*shape, k, d) with variances along the components that follow a power."""
    spread = EIGENVALUES**power * np.exp(0.2 * random.normal(size=(*shape, 1, SIZE)))
    return (random.normal(size=(*shape, FILTERS, SIZE)) * np.sqrt(spread)) @ AXES


def covariances(random, studies):
    """Return the sums of p p^T and of p over the patches of each group, and their number."""
    brightness = np.exp(0.7 * random.normal(size=(studies, GROUPS, IMAGES, 1, 1)))
    patches = random.normal(size=(studies, GROUPS, IMAGES, PATCHES, SIZE)) * brightness @ ROOT.T
    flat = patches.reshape(studies, GROUPS, -1, SIZE)
    return flat.swapaxes(-1, -2) @ flat, flat.sum(2)


def components(second, total, count):
    mean = total / count
    return np.linalg.eigh(second / count - mean[..., :, None] * mean[..., None, :])[1]


def similarities(a, b, axes):
    """Return (..., n, m) correlations of profiles of banks (..., n, k, d) on axes (..., d, r)."""
    units = []
    for bank in (a, b):
        profile = np.sqrt(np.square(bank @ axes[..., None, :, :]).mean(-2))
        deviation = profile - profile.mean(-1, keepdims=True)
        units.append(deviation / np.linalg.norm(deviation, axis=-1, keepdims=True))
    return units[0] @ units[1].swapaxes(-1, -2)


def studies(count, seed=0):
    random = np.random.default_rng(seed)
    a, b = (banks(random, power, (count, NETWORKS)) for power in (0.5, 0.4))
    second, total = covariances(random, count)
    each = IMAGES * PATCHES
    whole = similarities(a, b, components(second.sum(1), total.sum(1), GROUPS * each))
    halves = [
        similarities(a, b, components(second[:, h].sum(1), total[:, h].sum(1), GROUPS // 2 * each))
        for h in half_samples(GROUPS)
    ]
    return whole, np.stack(halves), (a, b, second, total)


def test_a_study_is_what_the_package_computes():
    whole, _, (a, b, second, total) = studies(2)
    sums = torch.as_tensor(total[1].sum(0)), torch.as_tensor(second[1].sum(0))
    basis = rs.PatchMoments(GROUPS * IMAGES * PATCHES, *sums, PATCH).basis()
    profiles = [rs.energy_profile(torch.as_tensor(bank[1][0]), basis) for bank in (a, b)]
    assert rs.profile_similarity(*profiles) == pytest.approx(whole[1, 0, 0], abs=1e-10)


def coverage(truth, whole, halves, *, naive=False):
    estimate = between(whole)
    found = two_factor(estimate, between(halves - halves.mean(0)))
    if naive:
        found = found._replace(value=found.both)
    low, high = interval(estimate.mean, found, (-1.0, 1.0))
    return float(((low <= truth) & (truth <= high)).mean())


def test_95_percent_intervals_cover_93_to_97_percent():
    """1,000 studies; the standard error of a coverage is 0.7 percentage points."""
    whole, halves, (a, b, *_) = studies(STUDIES)
    random = np.random.default_rng(1)
    many = [banks(random, power, (2000,)) for power in (0.5, 0.4)]
    truth = similarities(*many, AXES.T).mean()
    assert 0.93 <= coverage(truth, whole, halves) <= 0.97
    assert coverage(truth, whole, halves, naive=True) > 0.97
    of_given = similarities(a[:, :1], b[:, :1], AXES.T)[:, 0, 0]
    found = coverage(of_given, whole[:, :1, :1], halves[..., :1, :1])
    assert 0.93 <= found <= 0.97, "given networks, whose interval is over images alone"
