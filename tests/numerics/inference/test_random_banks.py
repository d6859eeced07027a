"""Random banks have the correlations they are asked for, and follow the linear CNN."""

import numpy as np
import pytest
import scipy.stats
import torch

import repsim_energy as rs
from repsim_energy.numerics.inference.random_banks import (
    neighbor_correlations,
    smooth_filters,
    theory_filters,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def basis_of(components, eigenvalues, patch):
    mean = torch.zeros(components.shape[1], dtype=torch.float64)
    return rs.PatchBasis(components, eigenvalues, mean, patch, True, 1000)


def cosines():
    """The separable basis of 3x3x3 patches: cosines in both directions and over the channels."""
    n = torch.arange(3, dtype=torch.float64)
    rows = torch.cos(torch.pi * n[:, None] * (2 * n + 1) / 6)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return torch.kron(rows, torch.kron(rows, rows))


@pytest.mark.parametrize("rhos", [(0.0, 0.0), (0.7, -0.4), (0.5, 0.5), (1.0, 0.2)])
def test_weights_correlate_as_a_separable_toeplitz_matrix(rhos):
    bank = smooth_filters((20_000, 2, 3, 4), rhos, generator())
    found = np.corrcoef(bank.flatten(1).numpy().T)
    places = np.abs(np.arange(4)[:, None] - np.arange(4))
    v, h = (np.power(rho, places) for rho in rhos)
    expected = np.kron(np.eye(2), np.kron(v[:3, :3], h))
    np.testing.assert_allclose(found, expected, atol=0.04)
    np.testing.assert_allclose(bank.square().mean(0), 1, atol=0.05)
    np.testing.assert_allclose(neighbor_correlations(bank), rhos, atol=0.01)


def test_neighbors_are_those_of_a_slow_loop():
    bank = smooth_filters((5, 2, 3, 3), (0.3, 0.6), generator()).float()
    pairs = [
        (float(f[c, y, x]), float(f[c, y, x + 1]))
        for f in bank
        for c in range(2)
        for y in range(3)
        for x in range(2)
    ]
    a, b = np.array(pairs).T
    expected = (a @ b) / np.sqrt((a @ a) * (b @ b))
    assert neighbor_correlations(bank)[1] == pytest.approx(expected)
    assert neighbor_correlations(bank.mT)[0] == pytest.approx(expected)
    assert neighbor_correlations(bank[..., :1])[1] == 0
    assert neighbor_correlations(0 * bank) == (0, 0)
    assert neighbor_correlations(torch.ones(2, 1, 3, 3)) == pytest.approx((1, 1))


def test_smooth_banks_are_similar_without_anything_in_common():
    """Neighbors that correlate at 0.5: r between 0.92 and 0.98, where white banks have +-0.38."""
    basis = basis_of(cosines(), torch.linspace(27, 1, 27).double(), (3, 3, 3))
    for rho, low, high in ((0.5, 0.92, 0.98), (0.0, -0.38, 0.38)):
        draw = generator()
        profiles = np.stack(
            [
                rs.energy_profile(smooth_filters((64, 3, 3, 3), (rho, rho), draw), basis)
                for _ in range(600)
            ]
        )
        r = [
            rs.profile_similarity(a, b) for a, b in zip(profiles[::2], profiles[1::2], strict=True)
        ]
        assert np.quantile(r, [0.025, 0.975]) == pytest.approx([low, high], abs=0.06 - 0.04 * rho)


@pytest.mark.parametrize("classes", [1, 10])
def test_banks_within_the_theory_are_those_of_linear_cnns_with_independent_labels(classes):
    """Each class is a linear CNN trained on its own random labels; readouts mix them."""
    rng, d, k, steps, rate = np.random.default_rng(0), 9, 16, 60, 0.05
    eigenvalues = np.geomspace(4.0, 0.02, d)
    patches = np.linalg.qr(rng.normal(size=(100, d)))[0] * np.sqrt(100 * eigenvalues)
    second = patches.T @ patches / 100
    curve = rs.theoretical_profile(eigenvalues, step_size=2 * rate, steps=steps)
    basis = basis_of(torch.eye(d).double(), torch.from_numpy(eigenvalues), (1, 3, 3))

    def trained():
        learned = [
            rs.solve_linear_cnn(
                np.zeros((1, d)),
                second,
                patches.T @ rng.normal(size=100) / 100,
                step_size=rate,
                steps=steps,
            )[0]
            for _ in range(classes)
        ]
        return rng.normal(size=(k, classes)) @ learned

    draw = generator()
    drawn = [theory_filters(k, basis, curve, classes, draw) for _ in range(600)]
    profiles = [
        np.stack([rs.energy_profile(torch.as_tensor(bank).flatten(1), basis) for bank in banks])
        for banks in ([trained() for _ in range(600)], drawn)
    ]
    for found in profiles:  # on average the profile is the theory
        squares = (found**2).mean(0)
        np.testing.assert_allclose(
            squares / squares.mean() / (curve**2 / (curve**2).mean()), 1, atol=0.3
        )
    spread, r = [], []
    for found in profiles:
        spread.append(np.log(found / curve).std(1))
        r.append(
            [rs.profile_similarity(a, b) for a, b in zip(found[::2], found[1::2], strict=True)]
        )
    assert scipy.stats.ks_2samp(*spread).pvalue > 0.001
    assert scipy.stats.ks_2samp(*r).pvalue > 0.001
    assert np.median(spread[1]) == pytest.approx({1: 1.1, 10: 0.24}[classes], rel=0.35)
