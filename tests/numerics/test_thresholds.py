"""Thresholds against their definitions, slow loops in float64 and what makes them optimal."""

from itertools import combinations

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.frames.bank import frame_bank
from repsim_energy.numerics.thresholds import hard_threshold, soft_threshold


def slowly_kept(sample, count, soft):
    """Return the flat sample with its largest entries, by sorting entry after entry."""
    order = sorted(range(len(sample)), key=lambda i: (-abs(sample[i]), i))
    tau = abs(sample[order[count]]) if count < len(sample) else 0.0
    kept = [0.0] * len(sample)
    for i in order[:count]:
        x = sample[i]
        kept[i] = np.sign(x) * max(abs(x) - tau, 0.0) if soft else x
    return kept


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("levels", [None, 3])
def test_it_is_the_slow_loop_with_and_without_ties(soft, levels, rng):
    values = torch.randn(6, 2, 3, 4, generator=rng, dtype=torch.float64)
    if levels:
        values = (values * levels / 2).round()
    for count in range(25):
        found = rs.keep_largest(values, count, soft=soft)
        expected = [slowly_kept(sample.tolist(), count, soft) for sample in values.flatten(1)]
        np.testing.assert_array_equal(found.flatten(1), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_exactly_the_count_is_kept(dtype, rng):
    values = torch.randn(5, 7, 11, generator=rng).to(dtype)  # bfloat16 has many equal values
    for count in (0, 1, 40, 76, 77):
        kept = rs.keep_largest(values, count)
        assert kept.dtype == dtype
        assert (kept != 0).flatten(1).sum(1).tolist() == [count] * 5
        left_out = torch.where(kept == 0, values, 0.0).abs().flatten(1).amax(1)
        if 0 < count < 77:
            least = torch.where(kept == 0, torch.inf, kept.abs()).flatten(1).amin(1)
            assert (least >= left_out).all()


def test_ties_are_kept_in_the_order_of_memory():
    equal = torch.full((2, 6), -2.0)
    assert rs.keep_largest(equal, 4).tolist() == [[-2.0] * 4 + [0.0] * 2] * 2
    assert not rs.keep_largest(equal, 4, soft=True).any()
    assert rs.keep_largest(equal, 6, soft=True).equal(equal)


def test_signs_and_scales_pass_through(rng):
    values = torch.randn(4, 50, generator=rng, dtype=torch.float64)
    signs = torch.randint(0, 2, values.shape, generator=rng) * 2 - 1
    for soft in (False, True):
        kept = rs.keep_largest(values, 12, soft=soft)
        assert rs.keep_largest(values * signs, 12, soft=soft).equal(kept * signs)
        assert rs.keep_largest(values * 4, 12, soft=soft).equal(kept * 4)
        assert rs.keep_largest(values.flip(1), 12, soft=soft).equal(kept.flip(1))


def test_coefficients_of_an_orthonormal_basis_give_the_best_approximation(rng):
    """No other choice of terms has a smaller error, which is the sum of squares left out."""
    basis = frame_bank("haar", 1, (2, 4)).flatten(1)
    signal = torch.randn(8, generator=rng, dtype=torch.float64)
    coefficients = basis @ signal
    for count in range(9):
        kept = rs.keep_largest(coefficients[None], count)[0]
        error = float((signal - basis.T @ kept).square().sum())
        others = [
            float((signal - basis[list(terms)].T @ coefficients[list(terms)]).square().sum())
            for terms in combinations(range(8), count)
        ]
        assert error == pytest.approx(min(others), abs=1e-12)
        left_out = coefficients.square().sort().values[: 8 - count].sum()
        assert error == pytest.approx(float(left_out), abs=1e-12)


def test_soft_is_the_proximal_map_of_the_l1_norm(rng):
    values = torch.randn(20, generator=rng, dtype=torch.float64) * 2
    grid = torch.linspace(-6, 6, 24001, dtype=torch.float64)
    for tau in (0.0, 0.3, 1.7):
        cost = 0.5 * (grid[:, None] - values).square() + tau * grid[:, None].abs()
        best = grid[cost.argmin(0)]
        np.testing.assert_allclose(soft_threshold(values, tau), best, atol=3e-4)


def test_hard_is_the_proximal_map_of_the_number_of_entries(rng):
    """x is kept where keeping it, at a cost of tau squared / 2, is cheaper than its square."""
    values = torch.randn(40, generator=rng, dtype=torch.float64) * 2
    for tau in (0.0, 0.3, 1.7):
        kept = hard_threshold(values, tau)
        expected = [x if 0.5 * x * x > 0.5 * tau * tau else 0.0 for x in values.tolist()]
        assert kept.tolist() == expected
        assert kept[values < -tau].lt(0).all()  # the sign stays


@pytest.mark.parametrize("soft", [False, True])
def test_it_is_the_threshold_at_the_entry_left_out(soft, rng):
    values = torch.randn(3, 30, generator=rng, dtype=torch.float64)
    tau = values.abs().sort(1, descending=True).values[:, 10:11]
    threshold = soft_threshold if soft else hard_threshold
    assert rs.keep_largest(values, 10, soft=soft).equal(threshold(values, tau))


def test_numbers_and_shapes_are_refused_that_have_no_meaning():
    values = np.ones((2, 3))
    for count in (-1, 4):
        with pytest.raises(UsageError, match="from 0 to 3"):
            rs.keep_largest(values, count)
    with pytest.raises(ShapeError, match="one sample"):
        rs.keep_largest(np.ones(3), 1)
    for bad in (np.nan, np.inf):
        values[1, 1] = bad
        with pytest.raises(DataError, match="NaN or infinite"):
            rs.keep_largest(values, 1)


def test_integers_and_empty_samples_are_accepted():
    assert rs.keep_largest(np.array([[1, -5, 2]]), 1).tolist() == [[0.0, -5.0, 0.0]]
    assert rs.keep_largest(torch.ones(0, 4), 2).shape == (0, 4)
