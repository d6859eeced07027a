"""The null interval of CKA against every order of the examples, and against shuffling."""

import itertools

import numpy as np
import pytest
import torch

from repsim_energy.numerics.cka.hsic import centered_gram, hsic_matrix
from repsim_energy.numerics.cka.null import (
    permutation_interval,
    permutation_invariants,
    permutation_moments,
    shuffled_interval,
)
from repsim_energy.numerics.cka.streaming import cka


def matrix(n, d, seed, power=1, estimator="debiased"):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) ** power + 1
    return hsic_matrix(centered_gram(x), estimator)


def invariants(*matrices):
    return np.stack([permutation_invariants(m).numpy() for m in matrices])


def over(orders, a, b):
    """Return the sum of products for each order of the examples behind ``b``."""
    a, b = a.numpy(), b.numpy()
    return np.array([(a * b[np.ix_(order, order)]).sum() for order in orders])


def test_moments_are_those_of_all_720_orders_of_six():
    a, b = matrix(6, 3, seed=0, power=3), matrix(6, 4, seed=1)
    values = over([list(order) for order in itertools.permutations(range(6))], a, b)
    variance, third = permutation_moments(invariants(a), invariants(b))
    assert values.mean() == pytest.approx(0, abs=1e-9 * values.std())
    assert variance[0] == pytest.approx((values**2).mean(), rel=1e-9)
    assert third[0] == pytest.approx((values**3).mean(), rel=1e-5)  # of a product in float32


@pytest.mark.parametrize(("d", "power"), [(2, 1), (8, 1), (300, 1), (8, 3)])
def test_band_is_the_shuffled_one(d, power):
    """Of 4,000 shufflings 5% lie outside, on both sides."""
    n, rng = 60, np.random.default_rng(0)
    a, b = matrix(n, d, 0, power), matrix(n, d, 1, power)
    values = over((rng.permutation(n) for _ in range(4000)), a, b) / float(a.norm() * b.norm())
    low, high = permutation_interval(invariants(a), invariants(b))
    assert 0.035 < np.mean((values < low) | (values > high)) < 0.065
    assert 0.01 < np.mean(values < low) < 0.045
    assert 0.01 < np.mean(values > high) < 0.045


def test_band_of_batches_is_that_of_shuffling_within_each():
    n, rng = (8, 9, 10), np.random.default_rng(0)
    first, second = ([matrix(k, 3, seed + k) for k in n] for seed in (0, 100))
    values = sum(
        over((rng.permutation(k) for _ in range(4000)), a, b)
        for k, a, b in zip(n, first, second, strict=True)
    )
    a, b = invariants(*first), invariants(*second)
    low, high = permutation_interval(a, b)
    norm = np.sqrt(a[:, 1].sum() * b[:, 1].sum())
    assert 0.035 < np.mean((values < low * norm) | (values > high * norm)) < 0.065


def test_random_orders_of_the_biased_estimate():
    n, rng = 60, np.random.default_rng(1)
    a, b = (matrix(n, 8, seed, 3, "biased") for seed in (0, 1))
    values = over((rng.permutation(n) for _ in range(4000)), a, b) / float(a.norm() * b.norm())
    low, high = shuffled_interval(a, b, shuffles=2000)
    assert np.mean(values < low) == pytest.approx(0.025, abs=0.015)
    assert np.mean(values > high) == pytest.approx(0.025, abs=0.015)


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_band_holds_unrelated_features_and_not_related_ones(estimator):
    generator = torch.Generator().manual_seed(0)
    inside = 0
    for _ in range(60):
        x, y = torch.randn(2, 50, 8, generator=generator, dtype=torch.float64)
        a, b = (hsic_matrix(centered_gram(f), estimator) for f in (x, y))
        debiased = estimator == "debiased"
        low, high = (
            permutation_interval(invariants(a), invariants(b))
            if debiased
            else shuffled_interval(a, b)
        )
        inside += low <= cka(x, y, estimator=estimator) <= high
    assert 51 <= inside < 60
    assert cka(x, x + y, estimator=estimator) > high


def test_the_spread_depends_on_the_number_of_examples_alone():
    a, b = invariants(matrix(50, 900, 0)), invariants(matrix(50, 3, 1))
    variance, _ = permutation_moments(a, b)
    assert variance[0] / (a[0, 1] * b[0, 1]) == pytest.approx(2 / (50 * 47))


def test_no_band_where_there_is_no_variance_or_too_few_examples():
    nothing = torch.zeros(20, 20, dtype=torch.float64)
    some = matrix(20, 3, 0)
    assert np.isnan(permutation_interval(invariants(some), invariants(nothing))).all()
    assert np.isnan(shuffled_interval(some, nothing)).all()
    five = invariants(matrix(5, 3, 0))
    assert np.isnan(permutation_interval(five, five)).all()
