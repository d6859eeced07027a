"""The distance of a profile to whitening: powers of the eigenvalues, real filters, bad input."""

import math

import numpy as np
import pytest

import repsim_energy as rs


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("power", [-3, -1, -0.5, 0, 0.25, 1, 2])
def test_powers_of_the_standard_deviation_have_their_distance(random, power):
    eigenvalues = np.sort(random.lognormal(0, 2, 27))[::-1]
    profile = 7.0 * eigenvalues ** (power / 2)
    assert rs.whitening_distance(profile, 1e4 * eigenvalues) == pytest.approx(abs(power + 1))


def test_whitening_filters_have_none(pictures):
    basis = rs.patch_moments(pictures.images, (3, 3)).basis()
    profile = rs.energy_profile(rs.whitening_filters(basis), basis)
    assert rs.whitening_distance(profile, basis.eigenvalues) == pytest.approx(0, abs=1e-6)


def test_the_theory_goes_from_two_to_none(pictures):
    eigenvalues = rs.patch_moments(pictures.images, (3, 3)).basis().eigenvalues.numpy()
    eta = 0.5 / eigenvalues.max()
    curves = rs.theoretical_profile(eigenvalues, step_size=eta, steps=[1, 10, 100, 1e4, 1e9])
    found = [rs.whitening_distance(curve, eigenvalues) for curve in curves]
    assert found[0] == pytest.approx(2)
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0, abs=1e-3)


def test_white_filters_are_near_one(pictures, random):
    basis = rs.patch_moments(pictures.images, (3, 3)).basis()
    profile = rs.energy_profile(random.normal(size=(500, 3, 3, 3)), basis)
    assert rs.whitening_distance(profile, basis.eigenvalues) == pytest.approx(1, abs=0.05)


def test_components_without_energy_or_value_are_left_out():
    eigenvalues = np.geomspace(1, 1e-3, 10)
    profile = eigenvalues**0.5
    wanted = rs.whitening_distance(profile[:7], eigenvalues[:7])
    profile[7:] = 0, np.nan, 1e-12
    assert rs.whitening_distance(profile, eigenvalues) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("profile", "eigenvalues"),
    [([1, 2, 0, 0], [4, 3, 2, 1]), ([0, 0, 0], [3, 2, 1]), ([1, 2, 3], [2, 2, 2])],
)
def test_what_has_no_distance_is_nan_with_a_warning(profile, eigenvalues):
    with pytest.warns(rs.UndefinedSimilarityWarning, match="the whitening distance is undefined"):
        assert math.isnan(rs.whitening_distance(profile, eigenvalues))


def test_a_profile_of_another_basis_is_refused():
    with pytest.raises(rs.ShapeError, match=r"eigenvalues have \(3,\)"):
        rs.whitening_distance([1, 2], [3, 2, 1])
