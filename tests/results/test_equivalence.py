"""Whether two models are as similar as two seeds of one model."""

import numpy as np
import pytest
from samples import LEAVES, RECIPE
from scipy import stats

import repsim_energy as rs

A, B = "linear_cnn:filters=8", "linear_cnn:filters=12"

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")


@pytest.fixture(scope="module")
def result():
    return rs.compare(f"{A},{B}", LEAVES, seeds=4, recipe=RECIPE)


def test_the_difference_is_that_of_the_means_of_the_summary(result):
    found, means = rs.equivalence(result, A, B), rs.summarize(result)["mean"].values
    assert found.between == pytest.approx(means[0, 1], rel=1e-12)
    assert found.within == pytest.approx((means[0, 0] + means[1, 1]) / 2, rel=1e-12)
    assert found.difference == pytest.approx(found.between - found.within, abs=1e-12)
    assert found.low < found.difference < found.high
    assert found.within_models == (A, B)


def test_the_interval_and_the_p_value_say_the_same(result):
    """The margin at the lower end of the 90% interval has the p-value 5%."""
    low = rs.equivalence(result, A, B).low
    assert rs.equivalence(result, A, B, margin=abs(low)).p_value == pytest.approx(0.05, rel=1e-6)
    assert rs.equivalence(result, A, B, margin=abs(low) * 1.1).equivalent
    assert not rs.equivalence(result, A, B, margin=abs(low) * 0.9).equivalent


def test_over_seeds_alone_it_is_the_jackknife_over_all_networks(result):
    """Each network is left out of all tables at once; pairs of two models count once."""
    alone = result.drop_vars("half_similarity")
    pairs = alone.similarity.values[0, :, :, 0]

    def delta(rows, columns):
        inside = [pairs[m][:, m][np.ix_(s, s)] for m, s in enumerate((rows, columns))]
        within = [x[np.triu_indices(len(x), 1)].mean() for x in inside]
        return pairs[0][:, 1][np.ix_(rows, columns)].mean() - np.mean(within)

    every, variance, parts = list(range(4)), 0.0, []
    for side in range(2):
        left = []
        for i in every:
            seeds = [every, every]
            seeds[side] = [s for s in every if s != i]
            left.append(delta(*seeds))
        parts.append(3 / 4 * np.square(np.array(left) - np.mean(left)).sum())
    cross = pairs[0][:, 1]
    rest = cross - cross.mean(0) - cross.mean(1, keepdims=True) + cross.mean()
    variance = max(sum(parts) - np.square(rest).sum() / 9 / 16, *parts)
    df = max(3, variance**2 / sum(part**2 / 5 for part in parts) - 2)
    found = rs.equivalence(alone, A, B)
    reach = stats.t.ppf(0.95, df) * np.sqrt(variance)
    assert found.interval_over == "seeds"
    assert found.high - found.difference == pytest.approx(reach, rel=1e-6)


def test_a_model_with_two_seeds_is_no_reference(result):
    lost = result.copy(deep=True)
    for name in ("similarity", "half_similarity"):
        values = lost[name].transpose("model", "seed", "model_ref", "seed_ref", ...).values
        values[1, :2] = np.nan
        values[:, :, 1, :2] = np.nan
    found = rs.equivalence(lost, A, B)
    assert found.within_models == (A,)
    assert np.isfinite(found.p_value)


def test_a_distance_has_the_opposite_signs(result):
    mirrored = result.copy()
    for name in ("similarity", "half_similarity"):
        mirrored[name] = -result[name]
    mirrored.attrs["direction"] = "distance"
    one, other = (rs.equivalence(r, A, B) for r in (result, mirrored))
    assert one.p_value == pytest.approx(other.p_value, rel=1e-9)
    assert (other.difference, other.low, other.high) == pytest.approx(
        (-one.difference, -one.high, -one.low)
    )


def test_beyond_the_theory_it_is_over_seeds_alone(result):
    assert rs.equivalence(result, A, B, of="beyond_theory").interval_over == "seeds"


def test_what_cannot_be_tested_is_refused(result):
    with pytest.raises(rs.UsageError, match="got margin=0"):
        rs.equivalence(result, A, B, margin=0)
    with pytest.raises(rs.UsageError, match="expected two models"):
        rs.equivalence(result, A, A)
    with pytest.raises(rs.UsageError, match="unknown group 'c'"):
        rs.equivalence(result, A, "c")
    few = result.isel(seed=[0, 1], seed_ref=[0, 1])
    with pytest.raises(rs.UsageError, match="got 2 and 2 seeds, expected at least 3"):
        rs.equivalence(few, A, B)
