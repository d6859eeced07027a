"""P-values, thresholds, scores and corrections: against slow loops, closed forms and scipy."""

import numpy as np
import pytest
import scipy.stats

from repsim_energy.errors import UnknownNameError
from repsim_energy.numerics.inference.distributions import GammaNull, PearsonNull
from repsim_energy.numerics.inference.monte_carlo import (
    calibrated_score,
    monte_carlo_p,
    null_threshold,
)
from repsim_energy.numerics.inference.multiplicity import adjusted
from repsim_energy.numerics.profiles.null import pearson_null_interval


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("draws", [19, 199, 200])
def test_a_p_value_counts_the_draws_that_are_as_similar(draws, rng):
    null, values = rng.integers(0, 30, (2, draws)) / 10  # with ties
    found = monte_carlo_p(values, null, "similarity")
    expected = [(1 + sum(x >= value for x in null)) / (draws + 1) for value in values]
    assert found.tolist() == expected
    assert monte_carlo_p(-values, -null, "distance").tolist() == expected


def test_a_draw_that_differs_by_rounding_counts():
    null = np.array([0.1 + 0.2, *np.zeros(18)])
    assert monte_carlo_p(np.array([0.3 + 1e-16]), null, "similarity") == 2 / 20


@pytest.mark.parametrize("direction", ["similarity", "distance"])
@pytest.mark.parametrize("draws", [19, 39, 200, 999])
def test_beyond_the_threshold_is_where_p_is_at_most_five_percent(draws, direction, rng):
    null = rng.normal(size=draws)
    values = rng.normal(0, 2, size=500)
    threshold = null_threshold(null, direction)
    beyond = values > threshold if direction == "similarity" else values < threshold
    assert (beyond == (monte_carlo_p(values, null, direction) <= 0.05)).all()


def test_what_is_undefined_stays_undefined():
    null = np.arange(20.0)
    assert np.isnan(monte_carlo_p(np.array([np.nan, 1.0]), null, "similarity")).tolist() == [1, 0]
    null[3] = np.nan
    assert np.isnan(monte_carlo_p(np.array([1.0]), null, "similarity")).all()
    assert np.isnan(null_threshold(null, "similarity"))
    assert np.isnan(null_threshold(np.arange(18.0), "similarity"))  # too few for 5%


def test_a_score_is_one_at_the_best_value_and_zero_at_the_threshold():
    values, one = np.array([1.0, 0.6, 0.2]), np.array([0.6] * 3)
    np.testing.assert_allclose(calibrated_score(values, one, 1.0), [1, 0, -1])
    far = np.array([0.0, 3.0, 6.0])  # a distance: (tau - d) / (tau - min)
    np.testing.assert_allclose(calibrated_score(far, np.array([3.0] * 3), 0.0), [1, 0, -1])
    assert np.isnan(calibrated_score(np.array([0.5]), np.array([1.0]), 1.0)).all()
    assert np.isnan(calibrated_score(np.array([0.5]), np.array([0.1]), np.nan)).all()


def test_corrections_are_their_definitions(rng):
    p = np.append(np.round(rng.uniform(size=40) ** 3, 3), [np.nan, 0.5, np.nan])
    known = sorted(p[~np.isnan(p)])
    m = len(known)
    holm, bh = adjusted(p, "holm"), adjusted(p, "bh")
    assert (np.isnan(holm) == np.isnan(p)).all()
    assert (np.isnan(bh) == np.isnan(p)).all()
    for value, one, other in zip(p, holm, bh, strict=True):
        if np.isnan(value):
            continue
        at = max(i for i in range(m) if known[i] == value)
        steps = [min(1.0, (m - j) * known[j]) for j in range(at + 1)]
        # among ties the first has the largest factor, so that all of them get the same
        assert one == pytest.approx(max(steps))
        assert other == pytest.approx(min(min(1.0, m * known[j] / (j + 1)) for j in range(at, m)))
    with pytest.raises(UnknownNameError, match="unknown method 'sidak'"):
        adjusted(p, "sidak")


def test_nothing_to_correct_is_nothing():
    assert np.isnan(adjusted(np.array([np.nan]), "bh")).all()
    assert adjusted(np.array([0.03]), "holm").tolist() == [0.03]


@pytest.mark.parametrize("components", [3, 4, 27, 147])
def test_the_law_of_correlations_is_the_beta_distribution(components):
    a = components / 2 - 1
    law, beta = PearsonNull(components), scipy.stats.beta(a, a, loc=-1, scale=2)
    x, q = np.linspace(-1, 1, 21), np.array([1e-9, 0.025, 0.5, 0.95, 0.975])
    np.testing.assert_allclose(law.cdf(x), beta.cdf(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(law.sf(x), beta.sf(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(law.ppf(q), beta.ppf(q), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(law.ppf([0.025, 0.975]), pearson_null_interval(components))


def test_too_few_components_have_no_law():
    assert np.isnan(PearsonNull(2).sf(0.5))
    assert np.isnan(PearsonNull(2).ppf(0.5))


@pytest.mark.parametrize("skewness", [-1.5, -0.2, 1e-6, 0.3, 2.0])
def test_the_gamma_law_is_pearsons_third(skewness):
    law, known = GammaNull(0.3, skewness), scipy.stats.pearson3(skewness, scale=0.3)
    x, q = np.linspace(-0.9, 1.2, 15), np.array([0.001, 0.025, 0.5, 0.95, 0.975])
    np.testing.assert_allclose(law.cdf(x), known.cdf(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(law.sf(x), known.sf(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(law.ppf(q), known.ppf(q), rtol=1e-4, atol=1e-5)
    assert np.isnan(GammaNull(np.nan, np.nan).sf(0.1))
