"""Checks of patch bases, energy profiles, the theory and its fit, against their definitions."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.doctor.checks import Check, Deviations, max_difference, relative_difference
from repsim_energy.doctor.inputs import noise, smooth_images
from repsim_energy.doctor.references import (
    gradient_descent,
    multiply,
    patch_sums,
    theoretical_profile,
)
from repsim_energy.interfaces import PatchBasis
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.profiles import theory
from repsim_energy.numerics.profiles.energy import energy_profile, profile_similarities
from repsim_energy.numerics.profiles.fit import fit_profile
from repsim_energy.numerics.profiles.linear_cnn import simulate_linear_cnn, solve_linear_cnn
from repsim_energy.numerics.profiles.null import pearson_null_interval
from repsim_energy.numerics.self_check import self_check

__all__ = ["checks"]

Array = NDArray[np.float64]

PATCHES = [(3, 3, 3), (3, 7, 7), (1, 2, 5)]
"""Channels, height and width."""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of numbers computed from patch moments. They run on the CPU only."""
    if device.type != "cpu":
        return []
    return [
        Check("self-check of every process", "no problem", 0.0, _self_check),
        Check("patch basis", "C u = e u, orthonormal, in descending order", 1e-12, _bases),
        Check("energy profiles", "sums over filters one by one", 1e-12, _profiles),
        Check("correlations of profiles", "Python's statistics.correlation", 1e-12, _correlations),
        Check("null interval of profiles", "95% of the density of r", 1e-8, _null_interval),
        Check("theoretical profile", "its geometric series", 1e-10, _theory),
        Check("fit of the theoretical profile", "the steps of the given profile", 1e-5, _fits),
        Check("filters of a linear CNN", "gradient descent step by step", 1e-10, _linear_cnn),
    ]


def _self_check() -> Deviations:
    self_check()  # raises an error for a problem
    yield "all kernels", 0.0


def _basis(kind: tuple[int, int, int]) -> tuple[Array, PatchBasis]:
    """Return a patch covariance, computed from integers, and its basis."""
    count, total, second = patch_sums(smooth_images(12, kind[0], 24, 24), kind[1:])
    mean = total / count / 255
    covariance = (second - np.outer(total, total) / count) / count / 255**2
    tensors = torch.from_numpy(covariance), torch.from_numpy(mean)
    return covariance, basis_from_moments(*tensors, kind, True, count)


def _bases() -> Deviations:
    for kind in PATCHES:
        covariance, basis = _basis(kind)
        u, e = basis.components.numpy(), basis.eigenvalues.numpy()
        what = f"of {'x'.join(map(str, kind))} patches"
        yield f"C u = e u {what}", max_difference(multiply(covariance, u.T), u.T * e) / e.max()
        yield f"orthonormal {what}", max_difference(multiply(u, u.T), np.eye(len(u)))
        yield f"descending {what}", max(0.0, float(np.diff(e).max()))
        yield f"sum of eigenvalues {what}", abs(e.sum() / covariance.trace() - 1)


def _profiles() -> Deviations:
    for kind in PATCHES:
        _, basis = _basis(kind)
        filters = noise(9, *kind).astype(np.float32) / 64 - 2
        responses = multiply(filters.reshape(9, -1).astype(float), basis.components.numpy().T)
        expected = np.sqrt((responses**2).mean(0))
        actual = energy_profile(torch.from_numpy(filters), basis)
        yield f"of {'x'.join(map(str, kind))} filters", relative_difference(actual, expected)


def _correlations() -> Deviations:
    profiles = noise(40, 27).astype(float) + 100 * np.geomspace(1, 9, 27)
    actual = profile_similarities(profiles)
    for i, j in itertools.product(range(len(profiles)), repeat=2):
        expected = statistics.correlation(profiles[i].tolist(), profiles[j].tolist())
        yield f"profiles {i} and {j}", abs(float(actual[i, j]) - expected)


def _null_interval() -> Deviations:
    """Integrate the density (1 - r^2)^((d - 4) / 2), which is uniform for four components."""
    yield "4 components", max_difference(pearson_null_interval(4), (-0.95, 0.95))
    for d in (27, 147):
        low, high = pearson_null_interval(d)
        inside = _integral(d, math.asin(low), math.asin(high)) / _integral(
            d, -math.pi / 2, math.pi / 2
        )
        yield f"{d} components", abs(inside - 0.95)


def _integral(d: int, low: float, high: float) -> float:
    """Return the integral of the density over r = sin(a), by the midpoint rule."""
    edges = np.linspace(low, high, 20_001)
    middle = (edges[1:] + edges[:-1]) / 2
    return float((np.cos(middle) ** (d - 3)).mean()) * (high - low)


def _theory() -> Deviations:
    eigenvalues = np.geomspace(3.0, 1e-4, 27)
    for steps in (1, 10, 1000):
        expected = theoretical_profile(eigenvalues, 0.2, steps)
        actual = theory.theoretical_profile(eigenvalues, step_size=0.2, steps=steps)
        yield f"{steps} steps", float(np.max(np.abs(actual / expected - 1)))


def _fits() -> Deviations:
    eigenvalues = np.geomspace(1.0, 1e-4, 27)
    for steps in (3, 300, 30_000):
        profile = theoretical_profile(eigenvalues, 0.5, steps)
        fit = fit_profile(7 * profile, eigenvalues)
        yield f"step of {steps}", abs(fit.steps / steps - 1)
        yield f"correlation at step {steps}", abs(fit.correlation - 1)


def _linear_cnn() -> Deviations:
    patches = noise(50, 12) / 256 - 0.4
    targets = noise(50, seed=1) / 256
    filters = noise(5, 12, seed=2) / 2560
    expected = gradient_descent(filters, patches, targets, 0.05, 60)
    actual = simulate_linear_cnn(filters, patches, targets, step_size=0.05, steps=60)
    yield "step by step", relative_difference(actual, expected)
    a, b = multiply(patches.T, patches) / 50, (patches * targets[:, None]).mean(0)
    actual = solve_linear_cnn(filters, a, b, step_size=0.05, steps=60)
    yield "closed form", relative_difference(actual, expected)
