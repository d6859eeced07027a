"""The whitening exponent at its closed forms, and what it leaves out."""

import numpy as np
import pytest

import repsim_energy as rs

VARIANCE = np.geomspace(1.0, 1e-6, 40)


@pytest.mark.parametrize("power", [-1.0, -0.3, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("share", [1.0, 0.99])
def test_a_power_of_the_deviation_is_its_exponent(power, share):
    profile = 3.7 * VARIANCE ** (-power / 2)
    assert rs.whitening_exponent(profile, VARIANCE, variance_share=share) == pytest.approx(power)
    assert rs.whitening_exponent(profile, 9 * VARIANCE) == pytest.approx(power)


def test_the_theory_goes_from_the_first_step_to_whitening():
    steps = [1, 1e2, 1e4, 1e6, 1e9]
    curves = rs.theoretical_profile(VARIANCE, step_size=0.5, steps=steps)
    found = [rs.whitening_exponent(curve, VARIANCE) for curve in curves]
    np.testing.assert_allclose([found[0], found[-1]], [-1, 1], atol=1e-6)
    assert np.all(np.diff(found) > 0)


def test_leading_components_are_the_fewest_with_the_share_of_the_variance():
    variance = np.array([0.5, 4.0, 3.0, 2.0, 0.5])  # in any order
    profile = np.array([9.0, 4.0**-0.5, 3.0**-0.5, 2.0**-0.5, 1e3])
    assert rs.whitening_exponent(profile, variance, variance_share=0.9) == pytest.approx(1)
    assert rs.whitening_exponent(profile, variance, variance_share=0.91) != pytest.approx(1)


def test_components_without_energy_or_variance_are_left_out():
    profile, variance = VARIANCE**-0.5, VARIANCE.copy()
    profile[3], profile[-1], variance[7], profile[9] = 0.0, np.nan, np.nan, 1e-9 * profile.max()
    assert rs.whitening_exponent(profile, variance) == pytest.approx(1)


def test_what_has_no_exponent():
    with pytest.warns(rs.UndefinedSimilarityWarning, match="undefined for 2 components"):
        assert np.isnan(rs.whitening_exponent([1.0, 2.0], [2.0, 1.0]))
    with pytest.warns(rs.UndefinedSimilarityWarning, match="undefined for 4 components"):
        assert np.isnan(rs.whitening_exponent([1.0, 2.0, 3.0, 4.0], np.ones(4)))
    with pytest.warns(rs.UndefinedSimilarityWarning, match="undefined for 0 components"):
        assert np.isnan(rs.whitening_exponent(np.full(3, np.nan), [3.0, 2.0, 1.0]))
    with pytest.raises(rs.ShapeError, match="one number for each"):
        rs.whitening_exponent([1.0, 2.0], [1.0])
    with pytest.raises(rs.DataError):
        rs.whitening_exponent([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
    with pytest.raises(rs.UsageError, match="variance_share=0"):
        rs.whitening_exponent([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], variance_share=0)
