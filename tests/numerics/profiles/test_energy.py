"""The energy profile: its closed forms, its invariances, and what it is not invariant to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim_energy.errors import FlatProfileWarning, ShapeError
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.profiles.energy import energy_profile, profile_similarity
from repsim_energy.numerics.profiles.null import pearson_null_interval


@pytest.fixture
def basis(pictures):
    return patch_moments(pictures.images, (3, 3)).basis()


@pytest.fixture
def bank(rng):
    return torch.randn(16, 3, 3, 3, generator=rng, dtype=torch.float64)


def orthogonal(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


def test_profile_equals_a_loop(bank, basis):
    slow = [np.sqrt(np.mean([float(w.flatten() @ u) ** 2 for w in bank])) for u in basis.components]
    np.testing.assert_allclose(energy_profile(bank, basis), slow, rtol=1e-12)


def test_bank_built_to_have_known_energies(basis):
    """Filters a_i u_i / mixed by an orthogonal matrix: e_i = a_i / sqrt(K)."""
    wanted = torch.linspace(3, 0.1, 27, dtype=torch.float64)
    filters = orthogonal(27) @ torch.diag(wanted) @ basis.components
    np.testing.assert_allclose(
        energy_profile(filters, basis), wanted.numpy() / np.sqrt(27), rtol=1e-10
    )


def test_profile_ignores_order_mixing_and_signs_of_filters(bank, basis):
    profile = energy_profile(bank, basis)
    np.testing.assert_allclose(energy_profile(bank.flip(0), basis), profile, rtol=1e-12)
    np.testing.assert_allclose(energy_profile(-bank, basis), profile, rtol=1e-12)
    mixed = (orthogonal(16) @ bank.flatten(1)).reshape(bank.shape)
    np.testing.assert_allclose(energy_profile(mixed, basis), profile, rtol=1e-12)


def test_profile_scales_with_the_filters_and_similarity_does_not(bank, basis):
    profile = energy_profile(bank, basis)
    np.testing.assert_allclose(energy_profile(5 * bank, basis), 5 * profile, rtol=1e-12)
    other = energy_profile(bank.flip(1), basis)
    assert profile_similarity(5 * profile, other) == pytest.approx(
        profile_similarity(profile, other), abs=1e-12
    )


def test_profile_is_not_blind_to_the_order_of_pixels(basis):
    """Weights flattened (h, w, c) give another profile: the mistake does not pass unseen."""
    filters = basis.components[:3].reshape(3, 3, 3, 3)
    wrong = filters.permute(0, 2, 3, 1).reshape(3, 3, 3, 3)
    assert np.abs(energy_profile(filters, basis) - energy_profile(wrong, basis)).max() > 0.1


def test_profile_is_not_blind_to_mixing_components(bank, basis):
    turned = bank.flatten(1) @ orthogonal(27)
    assert np.abs(energy_profile(turned, basis) - energy_profile(bank, basis)).max() > 0.05


def test_flat_and_4d_filters_agree(bank, basis):
    np.testing.assert_array_equal(
        energy_profile(bank, basis), energy_profile(bank.flatten(1), basis)
    )


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4, 3, 7, 7), "7x7 patches of 3 channels but the basis has 27 components of 3x3"),
        ((4, 1, 3, 3), "1 channels"),
        ((4, 147), "147 inputs"),
        ((0, 27), "shape"),
        ((27,), "shape"),
    ],
)
def test_filters_that_do_not_fit_are_refused(shape, words, basis):
    with pytest.raises(ShapeError, match=words):
        energy_profile(torch.zeros(shape), basis)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=3, max_size=30))
def test_similarity_is_the_pearson_correlation(pairs):
    a, b = np.array(pairs).T
    if min(np.ptp(a), np.ptp(b)) < 1e-3:
        return
    r = profile_similarity(a, b)
    assert r == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
    assert -1 <= r <= 1
    assert profile_similarity(b, a) == pytest.approx(r, abs=1e-12)


@pytest.mark.parametrize("flat", [np.ones(27), np.full(27, 0.1), np.zeros(27), np.full(27, np.nan)])
def test_flat_profile_is_nan_with_a_named_warning(flat):
    with pytest.warns(FlatProfileWarning, match="flat"):
        assert np.isnan(profile_similarity(flat, np.arange(27.0)))


def test_profiles_of_different_length_are_never_padded():
    with pytest.raises(ShapeError, match="one length"):
        profile_similarity(np.ones(27), np.ones(147))


@pytest.mark.parametrize(("filters", "d"), [(64, 27), (8, 27), (64, 147)])
def test_null_interval_holds_95_percent_of_random_banks(filters, d):
    """The closed form against banks drawn outright; the number of filters does not matter."""
    rng = np.random.default_rng(0)
    profiles = np.sqrt(rng.chisquare(filters, (2, 4000, d)))
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(*profiles, strict=True)]
    low, high = pearson_null_interval(d)
    assert np.mean((np.array(r) > low) & (np.array(r) < high)) == pytest.approx(0.95, abs=0.015)
