"""What profiles share beyond the theory: laws of the residuals and of their correlation."""

import numpy as np
import pytest

import repsim_energy as rs
from repsim_energy.numerics.profiles.beyond_theory import (
    FIT_LEVEL,
    correlate_residuals,
    theory_residuals,
)

EIGENVALUES = np.geomspace(1.0, 1e-3, 27)


def theory(steps, eigenvalues=EIGENVALUES):
    return rs.theoretical_profile(eigenvalues, step_size=0.5, steps=steps)


def profile_of_labels(labels, patches, steps, random):
    """The energy profile of linear CNNs, each with labels of its own, that are trained together."""
    moment = patches.T @ patches / len(patches)
    targets = random.normal(size=(labels, len(patches)))
    banks = [
        rs.solve_linear_cnn(
            np.zeros((1, 27)), moment, patches.T @ y / len(patches), step_size=0.2, steps=steps
        )
        for y in targets
    ]
    return moment, np.concatenate(banks)


def test_linear_networks_of_independent_labels_share_the_theory_alone():
    """r is near 1, and r beyond theory is that of white residuals: 95% within ±0.38."""
    random = np.random.default_rng(0)
    patches = random.normal(size=(400, 27)) * np.sqrt(EIGENVALUES)
    plain, beyond = [], []
    for _ in range(100):
        profiles = []
        for steps in (100, 120):
            moment, bank = profile_of_labels(24, patches, steps, random)
            variance, vectors = np.linalg.eigh(moment)
            profiles.append(np.sqrt(np.square(bank @ vectors).mean(0)))
        plain.append(rs.profile_similarity(*profiles))
        beyond.append(rs.beyond_theory(*profiles, variance))
    assert np.median(plain) > 0.8
    assert abs(np.median(beyond)) < 0.1
    low, high = rs.pearson_null_interval(27)
    inside = np.mean([low < value < high for value in beyond])
    assert 0.88 <= inside <= 1  # 95% of 100


def test_what_both_have_beside_the_theory_is_found_at_any_time_of_training():
    random = np.random.default_rng(1)
    shared = np.exp(random.normal(0, 0.3, 27))
    for steps in ((3, 3), (3, 1000), (100, 1e5)):
        a, b = (theory(t) * shared * np.exp(random.normal(0, 0.03, 27)) for t in steps)
        assert rs.beyond_theory(a, b, EIGENVALUES) > 0.9
        assert rs.beyond_theory(a, theory(steps[1]) / shared, EIGENVALUES) < -0.8


def test_it_is_symmetric_and_depends_on_neither_scale_nor_order():
    random = np.random.default_rng(2)
    a, b = (theory(t) * np.exp(random.normal(0, 0.3, 27)) for t in (10, 500))
    value = rs.beyond_theory(a, b, EIGENVALUES)
    order = random.permutation(27)
    for other in (
        rs.beyond_theory(b, a, EIGENVALUES),
        rs.beyond_theory(1e-5 * a, 1e7 * b, EIGENVALUES),
        rs.beyond_theory(a[order], b[order], EIGENVALUES[order]),
        rs.beyond_theory(a, b, 1e4 * EIGENVALUES),
        rs.beyond_theory([*a, np.nan], [*b, np.nan], [*EIGENVALUES, np.nan]),
    ):
        assert other == pytest.approx(value, abs=1e-6)


def test_it_is_the_correlation_of_the_logarithms():
    random = np.random.default_rng(3)
    a, b = (theory(t) * np.exp(random.normal(0, 0.3, 27)) for t in (10, 500))
    rest = [np.log(e) - np.log(rs.fit_profile(e, EIGENVALUES).profile) for e in (a, b)]
    assert rs.beyond_theory(a, b, EIGENVALUES) == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-12)


@pytest.mark.parametrize("nothing", [0.0, 1e-9])
def test_components_without_energy_are_left_out(nothing):
    random = np.random.default_rng(4)
    a, b = (theory(t) * np.exp(random.normal(0, 0.3, 27)) for t in (10, 500))
    a[[3, 20]] = nothing * a.max()
    fits = [rs.fit_profile(e, EIGENVALUES).profile for e in (a, b)]
    rest = [np.log(np.fmax(e, 1e-99)) - np.log(fit) for e, fit in zip((a, b), fits, strict=True)]
    kept = np.delete(np.arange(27), [3, 20])
    expected = np.corrcoef(rest[0][kept], rest[1][kept])[0, 1]
    assert rs.beyond_theory(a, b, EIGENVALUES) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("components", [9, 27, 147])
def test_the_theory_does_not_describe_white_filters(components):
    """Else their r beyond theory would be near 1 or -1, for the misfit is one curve."""
    eigenvalues = np.geomspace(1.0, 1e-4, components)
    random = np.random.default_rng(5)
    white = np.sqrt(np.square(random.normal(size=(400, 64, components))).mean(1))
    fits = rs.fit_profiles(white, eigenvalues)
    curves = np.stack([fit.profile for fit in fits])
    correlations = np.array([fit.correlation for fit in fits])
    described = np.isfinite(theory_residuals(white, curves, correlations)).any(1)
    assert described.mean() < 0.06
    least = rs.pearson_null_interval(components, level=FIT_LEVEL)[1]
    np.testing.assert_array_equal(described, correlations > least)


@pytest.mark.parametrize(
    "a",
    [
        theory(30),
        theory(30).astype(np.float32),
        np.random.default_rng(6).uniform(1, 2, 27),
        np.where(np.arange(27) < 2, theory(3), 0),
    ],
    ids=["theory", "theory in float32", "white", "two components"],
)
def test_an_undefined_number_is_nan_with_a_warning(a):
    b = theory(300) * np.exp(np.random.default_rng(7).normal(0, 0.3, 27))
    with pytest.warns(rs.UndefinedSimilarityWarning, match="beyond theory is undefined"):
        assert np.isnan(rs.beyond_theory(a, b, EIGENVALUES))


def test_profiles_of_different_length_are_refused():
    with pytest.raises(rs.ShapeError, match="two of one length"):
        rs.beyond_theory(theory(3), theory(3)[:26], EIGENVALUES)
    with pytest.raises(rs.ShapeError, match="26 eigenvalues"):
        rs.beyond_theory(theory(3), theory(3), EIGENVALUES[:26])


def test_all_pairs_are_those_of_numpy_over_their_common_components():
    random = np.random.default_rng(8)
    residuals = random.normal(size=(7, 12))
    residuals[[1, 2], 3] = np.nan
    residuals[4, :10] = np.nan
    residuals[5] = np.nan
    residuals[6] = 1e-6 * residuals[6]
    correlations, used = correlate_residuals(residuals)
    for i in range(7):
        for j in range(7):
            common = np.isfinite(residuals[i]) & np.isfinite(residuals[j])
            assert used[i, j] == common.sum()
            if common.sum() < 3 or 6 in (i, j):
                assert np.isnan(correlations[i, j])
            else:
                expected = np.corrcoef(residuals[i][common], residuals[j][common])[0, 1]
                assert correlations[i, j] == pytest.approx(expected, abs=1e-12)
