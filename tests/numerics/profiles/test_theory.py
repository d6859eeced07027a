"""The linear CNN: closed forms against plain gradient descent, the fit against a long scan."""

import numpy as np
import pytest

from repsim_energy.errors import DataError, FlatProfileWarning, ShapeError, UsageError
from repsim_energy.numerics.profiles.fit import fit_profile, fit_profiles
from repsim_energy.numerics.profiles.linear_cnn import solve_linear_cnn
from repsim_energy.numerics.profiles.theory import theoretical_profile

CIFAR_LIKE = np.geomspace(1.3, 1e-5, 27)


def descend(start, a, b, step_size, steps):
    """Plain gradient descent on the loss mean (y - sum_k p w_k)^2, filter by filter."""
    filters = start.copy()
    for _ in range(steps):
        gradient = 2 * (a @ filters.sum(0) - b)
        filters = filters - step_size * gradient
    return filters


@pytest.mark.parametrize("filters", [1, 8, 64])
def test_closed_form_is_gradient_descent(filters):
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(500, 12)) * np.geomspace(1, 1e-3, 12)
    labels = rng.normal(size=500)
    a, b = patches.T @ patches / 500, patches.T @ labels / 500
    start = rng.normal(size=(filters, 12))
    step = 0.4 / (filters * np.linalg.eigvalsh(a)[-1])
    exact = solve_linear_cnn(start, a, b, step_size=step, steps=1000)
    np.testing.assert_allclose(exact, descend(start, a, b, step, 1000), atol=1e-9, rtol=0)


def test_closed_form_with_a_step_that_overshoots_and_a_flat_direction():
    a, b = np.diag([1.0, 0.3, 0.0]), np.array([1.0, -2.0, 0.5])
    start = np.ones((2, 3))
    exact = solve_linear_cnn(start, a, b, step_size=0.45, steps=37)
    np.testing.assert_allclose(exact, descend(start, a, b, 0.45, 37), atol=1e-9)


def test_every_filter_moves_by_the_same_vector():
    rng = np.random.default_rng(1)
    start = rng.normal(size=(5, 4))
    moved = solve_linear_cnn(start, np.eye(4), np.ones(4), step_size=0.01, steps=9) - start
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-14)


def test_theory_is_the_closed_form_when_labels_follow_its_assumption():
    """With b_i proportional to lambda_i and a zero start, |w_i| is the theoretical profile."""
    a, b = np.diag(CIFAR_LIKE), np.sqrt(CIFAR_LIKE)
    filters = solve_linear_cnn(np.zeros((1, 27)), a, b, step_size=0.1, steps=500)
    curve = theoretical_profile(CIFAR_LIKE, step_size=0.2, steps=500)
    np.testing.assert_allclose(np.abs(filters[0]) / filters.max(), curve / curve.max(), rtol=1e-9)


def test_curve_runs_from_lambda_to_whitening():
    first = theoretical_profile(CIFAR_LIKE, step_size=0.3, steps=1)
    np.testing.assert_allclose(first, np.sqrt(CIFAR_LIKE), rtol=1e-12)
    last = theoretical_profile(CIFAR_LIKE, step_size=0.3, steps=1e9) * 0.3
    np.testing.assert_allclose(last, 1 / np.sqrt(CIFAR_LIKE), rtol=1e-9)


def test_a_component_without_variance_learns_nothing():
    curve = theoretical_profile([1.0, 0.0], step_size=0.1, steps=[0, 10])
    np.testing.assert_array_equal(curve[:, 1], 0)


def correlations(profiles, curves):
    standard = [(x - x.mean(1, keepdims=True)) for x in (profiles, curves)]
    profiles, curves = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in standard)
    return profiles @ curves.T


@pytest.mark.parametrize("shape", ["random", "theory", "noise", "beyond the scan"])
def test_fit_is_never_below_a_scan_of_20000_steps(shape):
    rng = np.random.default_rng(3)
    for components in (3, 9, 27, 27, 27, 75):
        eigenvalues = np.sort(np.exp(rng.uniform(-12, 0, components)))[::-1]
        lowest = 10 if shape == "beyond the scan" else 0
        steps = np.exp(rng.uniform(lowest, 14, 60))
        profiles = theoretical_profile(eigenvalues, step_size=0.4, steps=steps)
        if shape == "random":
            profiles = rng.random(profiles.shape)
        if shape == "noise":
            profiles = profiles * np.exp(rng.normal(size=profiles.shape))
        fits = fit_profiles(profiles, eigenvalues)
        scan = theoretical_profile(
            eigenvalues, step_size=fits[0].step_size, steps=np.arange(1, 20001)
        )
        best = correlations(profiles, scan).max(1)
        found = np.array([fit.correlation for fit in fits])
        assert (found >= best - 1e-12).all()
        if shape == "beyond the scan" and components > 3:
            assert (found > best + 1e-4).any()


def test_many_profiles_fit_as_each_by_itself():
    rng = np.random.default_rng(4)
    profiles = rng.random((300, 27))
    together = fit_profiles(profiles, CIFAR_LIKE)
    assert len(together) == 300
    for profile, fit in zip(profiles, together, strict=True):
        alone = fit_profile(profile, CIFAR_LIKE)
        assert fit.correlation == pytest.approx(alone.correlation, abs=1e-12)
        assert (fit.steps, fit.at_bound) == (pytest.approx(alone.steps, rel=1e-6), alone.at_bound)
        np.testing.assert_allclose(fit.profile, alone.profile, rtol=1e-6)


def test_fit_finds_the_steps_and_says_when_it_ran_into_a_bound():
    for steps in (3, 250, 80000):
        curve = theoretical_profile(CIFAR_LIKE, step_size=0.1, steps=steps)
        fit = fit_profile(curve, CIFAR_LIKE, step_size=0.1)
        assert fit.correlation == pytest.approx(1, abs=1e-9)
        assert fit.steps == pytest.approx(steps, rel=1e-3)
        assert not fit.at_bound
    assert fit_profile(1 / np.sqrt(CIFAR_LIKE), CIFAR_LIKE).at_bound
    assert fit_profile(CIFAR_LIKE**2, CIFAR_LIKE).at_bound


@pytest.mark.parametrize(
    "value", [np.ones(27), np.zeros(27), np.full(27, np.nan), np.r_[np.inf, np.ones(26)]]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_has_no_fit_is_nan_and_leaves_the_others_alone(value, place):
    profiles = [CIFAR_LIKE, CIFAR_LIKE[::-1]]
    profiles.insert(place, value)
    with pytest.warns(FlatProfileWarning):
        fits = fit_profiles(profiles, CIFAR_LIKE)
    undefined = fits.pop(place)
    assert np.isnan([undefined.correlation, undefined.steps, *undefined.profile]).all()
    assert not undefined.at_bound
    for fit, profile in zip(fits, (CIFAR_LIKE, CIFAR_LIKE[::-1]), strict=True):
        assert fit.steps == fit_profile(profile, CIFAR_LIKE).steps
    with pytest.warns(FlatProfileWarning):
        assert np.isnan(fit_profile(value, CIFAR_LIKE).steps)


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="use less than"):
        theoretical_profile([2.0, 1.0], step_size=0.6, steps=3)
    with pytest.raises(UsageError, match="negative"):
        theoretical_profile([2.0, 1.0], step_size=0.1, steps=-1)
    with pytest.raises(DataError, match="eigenvalues"):
        theoretical_profile([1.0, np.nan], step_size=0.1, steps=3)
    with pytest.raises(DataError, match="not symmetric"):
        solve_linear_cnn(np.zeros((1, 2)), [[1, 0.5], [0, 1]], [1, 1], step_size=0.1, steps=3)
    with pytest.raises(ShapeError, match="27 eigenvalues"):
        fit_profile(np.ones(3), CIFAR_LIKE)
    with pytest.raises(ShapeError, match="do not fit"):
        solve_linear_cnn(np.ones((2, 3)), np.eye(4), np.ones(3), step_size=0.1, steps=1)
