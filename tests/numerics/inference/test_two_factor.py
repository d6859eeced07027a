"""Intervals over networks and images: laws of the variances, and coverage in simulated studies."""

import itertools

import numpy as np
import pytest

from repsim_energy.numerics.inference.half_samples import (
    group_count,
    half_samples,
    random_groups,
)
from repsim_energy.numerics.inference.two_factor import (
    between,
    difference,
    interval,
    two_factor,
    within,
)

GROUPS = 20
HALVES = half_samples(GROUPS)


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def centered(estimate, tables):
    return estimate(tables - tables.mean(0))


@pytest.mark.parametrize("groups", [4, 8, 12, 20, 24, 32, 44, 60])
def test_half_samples_are_halves_and_orthogonal(groups):
    signs = np.where(half_samples(groups), 1, -1)
    assert group_count(groups) == groups
    assert (signs.sum(1) == 0).all()
    assert (signs @ signs.T == groups * np.eye(groups - 1)).all()


def test_half_samples_give_the_squared_standard_error_of_a_mean_exactly():
    numbers = drawn(GROUPS)
    halves = np.array([numbers[half].mean() for half in HALVES])
    squares = np.square(halves - numbers.mean()).mean()
    assert squares == pytest.approx(numbers.var(ddof=1) / GROUPS, rel=1e-12)


def test_groups_are_a_partition_into_nearly_equal_parts():
    groups = random_groups(103, 20)
    assert sorted(np.concatenate(groups)) == list(range(103))
    assert {len(group) for group in groups} == {5, 6}
    assert np.array_equal(groups[3], random_groups(103, 20)[3])


def test_the_variance_between_models_is_that_of_the_components():
    """For sums without interaction it is the sum of two squared standard errors."""
    a, b = drawn(4), drawn(6, seed=1)
    found = two_factor(between(a[:, None] + b))
    expected = a.var(ddof=1) / 4 + b.var(ddof=1) / 6
    assert float(found.value) == pytest.approx(expected, rel=1e-12)


def test_the_variance_over_networks_equals_a_bootstrap_that_draws_them():
    """A bootstrap over the first networks alone, times n / (n - 1), by complete enumeration."""
    table = drawn(3, 4)
    draws = [table[list(rows)].mean() for rows in itertools.product(range(3), repeat=3)]
    influence = between(table).influences[0]
    assert np.square(influence).sum() == pytest.approx(np.var(draws) * 3 / 2, rel=1e-12)


def test_leaving_out_networks_one_by_one_gives_the_variance_within_a_model():
    table = drawn(5, 5)
    table = table + table.T
    left_out = []
    for i in range(5):
        rest = np.delete(np.delete(table, i, 0), i, 1)
        left_out.append(rest[np.triu_indices(4, 1)].mean())
    found = within(table)
    assert float(found.mean) == pytest.approx(table[np.triu_indices(5, 1)].mean(), rel=1e-12)
    expected = 4 / 5 * np.square(left_out - np.mean(left_out)).sum()
    assert float(two_factor(found).value) == pytest.approx(expected, rel=1e-12)


def test_the_diagonal_is_no_pair():
    table = drawn(4, 4)
    other = table + np.diag(drawn(4, seed=3))
    assert np.array_equal(within(table).influences[0], within(other).influences[0])


def test_two_networks_of_one_model_have_no_variance():
    assert np.isnan(two_factor(within(drawn(2, 2))).value)


def test_nothing_varies_for_one_network_each_and_no_half_samples():
    found = two_factor(between(drawn(1, 1)))
    assert np.isnan(found.value)
    assert np.isnan(interval(np.array(0.5), found, (-1, 1))).all()


def test_the_naive_variance_counts_the_interaction_three_times():
    """2 (V_networks + V_images) - V_both, of numbers whose components are known."""
    table = drawn(2000, 4, 1, GROUPS, seed=4)  # interaction of networks and images alone
    halves = np.stack([table[..., half].mean(-1) for half in HALVES])
    found = two_factor(between(table.mean(-1)), centered(between, halves))
    truth = 1 / (4 * GROUPS)
    assert found.both.mean() == pytest.approx(3 * truth, rel=0.05)
    corrected = 2 * (found.networks + found.images) - found.both
    assert corrected.mean() == pytest.approx(truth, rel=0.05)


def test_intervals_of_fisher_z_stay_inside_and_contain_the_mean():
    means = np.array([0.999, 0.0, -0.99])
    table = means[:, None, None] + 0.05 * drawn(3, 3, 3)
    estimate = between(table)
    low, high = interval(estimate.mean, two_factor(estimate), (-1.0, 1.0))
    inside = np.clip(estimate.mean, -1, 1)
    assert ((low >= -1) & (low <= inside) & (inside <= high) & (high <= 1)).all()
    assert high[1] > low[1]


def test_identical_networks_have_an_interval_without_width():
    estimate = between(np.ones((3, 3)))
    low, high = interval(estimate.mean, two_factor(estimate), (-1.0, 1.0))
    assert (low, high) == (1.0, 1.0)


def studies(count, networks, effects, *, same=False, seed=0):
    """Return similarities per group of images (count, n, n, groups), with mean 0.

    Parameters
    ----------
    effects : standard deviations of networks, pairs, images, networks x images, pairs x images, of
        the mean over all images
    same : whether both sides are the networks of one model
    """
    random = np.random.default_rng(seed)
    network, pair, image, network_image, pair_image = effects
    scale = np.sqrt(GROUPS)

    def of_networks():
        fixed = network * random.normal(size=(count, networks, 1))
        return fixed + network_image * scale * random.normal(size=(count, networks, GROUPS))

    a = of_networks()
    b = a if same else of_networks()
    shape = (count, networks, networks)
    pairs = pair * random.normal(size=(*shape, 1))
    pairs = pairs + pair_image * scale * random.normal(size=(*shape, GROUPS))
    if same:
        pairs = np.triu(pairs.swapaxes(1, 3), 1).swapaxes(1, 3)
        pairs = pairs + pairs.swapaxes(1, 2)
    images = image * scale * random.normal(size=(count, 1, 1, GROUPS))
    return a[:, :, None] + b[:, None] + pairs + images


def coverage(networks, effects, *, same=False, count=2000, naive=False):
    estimate = within if same else between
    groups = studies(count, networks, effects, same=same)
    whole = estimate(groups.mean(-1))
    images = any(effects[2:])
    halves = np.stack([groups[..., half].mean(-1) for half in HALVES])
    found = two_factor(whole, centered(estimate, halves) if images else None)
    if naive:
        found = found._replace(value=found.both)
    low, high = interval(whole.mean, found, (-np.inf, np.inf))
    return float(((low <= 0) & (high >= 0)).mean())


MIXED = (1, 0.3, 0.5, 0.3, 0.3)
INTERACTING = (0.5, 0.3, 0.5, 1, 0.5)
CASES = [
    (3, (1, 0.3, 0, 0, 0), False),
    (3, MIXED, False),
    (5, MIXED, False),
    (10, INTERACTING, False),
    (3, (1, 0.5, 0, 0, 0), True),
    (5, MIXED, True),
    (10, MIXED, True),
]


@pytest.mark.parametrize(("networks", "effects", "same"), CASES)
def test_95_percent_intervals_cover_93_to_97_percent(networks, effects, same):
    """2,000 studies; the standard error of a coverage is 0.5 percentage points."""
    assert 0.93 <= coverage(networks, effects, same=same) <= 0.97


def test_the_naive_interval_is_too_wide():
    assert coverage(5, INTERACTING, naive=True) > 0.98
    assert coverage(5, INTERACTING) < 0.98


@pytest.mark.slow
@pytest.mark.parametrize("networks", [3, 4, 6, 10])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    "effects",
    [(1, 0.3, 0, 0, 0), (1, 0.3, 1, 0, 0), MIXED, INTERACTING, (0.2, 0.1, 1, 0.2, 0.2)],
)
def test_intervals_cover_over_a_grid(networks, effects, same):
    """Where little but the interaction varies, few seeds make intervals a little too wide."""
    found = coverage(networks, effects, same=same, count=4000)
    assert 0.93 <= found <= (0.985 if effects == INTERACTING else 0.97)


def test_a_difference_is_the_mean_between_less_the_mean_within():
    """Its influences are those of leaving out each network from all tables at once."""
    x, y = drawn(4, 8), drawn(3, 8, seed=1)
    tables = x @ y.T, x @ x.T, y @ y.T
    found = difference(between(tables[0]), within(tables[1]), within(tables[2]))

    def delta(one, other):
        def mean(z):
            return (z @ z.T)[np.triu_indices(len(z), 1)].mean()

        return (one @ other.T).mean() - (mean(one) + mean(other)) / 2

    assert float(found.mean) == pytest.approx(delta(x, y), rel=1e-12)
    left_out = np.array([delta(np.delete(x, i, 0), y) for i in range(4)])
    assert np.square(found.influences[0]).sum() == pytest.approx(
        3 / 4 * np.square(left_out - left_out.mean()).sum(), rel=1e-9
    )


def test_a_difference_to_one_model_has_the_influences_of_both():
    """A second model of two networks is no reference, and varies all the same."""
    x, y = drawn(2, 8), drawn(4, 8, seed=1)
    found = difference(between(x @ y.T), None, within(y @ y.T))

    def delta(one, other):
        return (one @ other.T).mean() - (other @ other.T)[np.triu_indices(len(other), 1)].mean()

    for side, left in enumerate(
        (
            [delta(np.delete(x, i, 0), y) for i in range(2)],
            [delta(x, np.delete(y, i, 0)) for i in range(4)],
        )
    ):
        n = len(left)
        expected = (n - 1) / n * np.square(np.array(left) - np.mean(left)).sum()
        assert np.square(found.influences[side]).sum() == pytest.approx(expected, rel=1e-9)


def test_tests_at_the_margin_reject_no_more_often_than_their_level():
    """The difference is the margin: the lower end of its 90% interval exceeds it in 5%.

    Networks have one effect within their model and another one in pairs with the other model.
    """
    count, n = 2000, 5
    random = np.random.default_rng(7)
    x, y, to_y, to_x = (
        random.normal(size=(count, n, 1)) + 2 * random.normal(size=(count, n, GROUPS))
        for _ in range(4)
    )
    images = 3 * random.normal(size=(count, 1, 1, GROUPS))

    def table(one, other):
        return one[:, :, None] + other[:, None] + images

    tables = [table(to_y, to_x), table(x, x), table(y, y)]

    def estimate(some):
        return difference(between(some[0]), within(some[1]), within(some[2]))

    whole = estimate([t.mean(-1) for t in tables])
    halves = [np.stack([t[..., half].mean(-1) for half in HALVES]) for t in tables]
    found = two_factor(whole, estimate([t - t.mean(0) for t in halves]))
    low, _ = interval(whole.mean, found, (-np.inf, np.inf), level=0.9)
    rejected = (low > 0).mean()
    assert 0.025 <= rejected <= 0.06
