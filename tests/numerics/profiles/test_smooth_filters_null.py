"""Random filters as smooth as a bank: their correlations, and the thresholds made of them."""

import numpy as np
import pytest

import repsim_energy as rs
from repsim_energy.numerics.profiles import smooth_null
from repsim_energy.numerics.profiles.smooth_null import draw_smooth_filters, smooth_thresholds


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def basis(pictures):
    return rs.patch_moments(pictures.images, (3, 3)).basis()


def smooth_bank(random, count=64):
    """Filters with neighbors correlated in one direction only, and two equal channels."""
    noise = random.normal(size=(count, 2, 3, 4))
    filters = noise[..., :-1] + noise[..., 1:]
    return np.concatenate([filters, filters[:, :1]], axis=1)


def correlation(one, other):
    return (one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum())


def test_draws_have_the_correlations_of_the_bank(random):
    bank = smooth_bank(random)
    drawn = draw_smooth_filters(bank, 200, random).reshape(-1, *bank.shape[1:])
    for axis in (2, 3):
        one, other = (
            [np.take(x, range(*cut), axis) for cut in ((0, 2), (1, 3))] for x in (bank, drawn)
        )
        assert correlation(*other) == pytest.approx(correlation(*one), abs=0.02)
    assert correlation(bank[..., :-1], bank[..., 1:]) == pytest.approx(0.5, abs=0.1)
    assert correlation(drawn[:, 0], drawn[:, 2]) == pytest.approx(1)
    assert correlation(drawn[:, 0], drawn[:, 1]) == pytest.approx(
        correlation(bank[:, 0], bank[:, 1]), abs=0.02
    )
    rho = correlation(bank[..., :-1], bank[..., 1:])
    two = correlation(drawn[..., :1], drawn[..., 2:])
    assert two == pytest.approx(rho**2, abs=0.02)


def averaged(random):
    """Filters of which each weight is the mean of four, which the theory describes."""
    noise = random.normal(size=(64, 3, 4, 4))
    return noise[..., :-1, :-1] + noise[..., 1:, :-1] + noise[..., :-1, 1:] + noise[..., 1:, 1:]


@pytest.mark.filterwarnings("ignore::repsim_energy.UndefinedSimilarityWarning")
def test_thresholds_are_quantiles_of_the_public_correlations(random, basis):
    bank = averaged(random)
    components = basis.components.numpy().reshape(27, 3, 3, 3)
    found = smooth_thresholds(bank, components, basis.eigenvalues.numpy(), draws=40)
    drawn = draw_smooth_filters(bank, 40, np.random.default_rng(0))
    own = rs.energy_profile(bank, basis)
    others = [rs.energy_profile(one, basis) for one in drawn]
    r = [rs.profile_similarity(own, one) for one in others]
    assert found[0] == pytest.approx(np.quantile(r, 0.95), rel=1e-6)
    beyond = [rs.beyond_theory(own, one, basis.eigenvalues) for one in others]
    assert found[1] == pytest.approx(np.nanquantile(beyond, 0.95), rel=1e-5)


def test_white_filters_have_the_threshold_of_the_null_interval(random, basis):
    bank = random.normal(size=(1000, 3, 3, 3))
    components = basis.components.numpy().reshape(27, 3, 3, 3)
    r, beyond = smooth_thresholds(bank, components, basis.eigenvalues.numpy())
    high = rs.pearson_null_interval(27, level=0.9)[1]  # 5% above
    assert r == pytest.approx(high, abs=0.12)  # for one fixed profile
    assert np.isnan(beyond)  # the theory does not describe white filters


def test_smooth_filters_are_more_similar(random, basis):
    bank = averaged(random)
    components = basis.components.numpy().reshape(27, 3, 3, 3)
    assert smooth_thresholds(bank, components, basis.eigenvalues.numpy())[0] > 0.8


def test_filters_without_weights_in_a_channel_or_at_all(random, basis):
    components = basis.components.numpy().reshape(27, 3, 3, 3)
    assert np.isnan(smooth_thresholds(np.zeros((4, 3, 3, 3)), components, basis.eigenvalues)).all()
    bank = random.normal(size=(8, 3, 3, 3))
    bank[:, 1] = 0
    drawn = draw_smooth_filters(bank, 5, random)
    assert np.abs(drawn[:, :, 1]).max() < 1e-12
    assert np.abs(drawn[:, :, 0]).max() > 0


def test_chunks_change_nothing_and_large_banks_have_fewer_draws(random, basis, monkeypatch):
    bank, components = averaged(random), basis.components.numpy().reshape(27, 3, 3, 3)
    eigenvalues = basis.eigenvalues.numpy()
    whole = smooth_thresholds(bank, components, eigenvalues)
    assert smooth_thresholds(bank, components, eigenvalues, draws=400) == whole
    monkeypatch.setattr(smooth_null, "CHUNK_WEIGHTS", 7 * bank.size)
    assert smooth_thresholds(bank, components, eigenvalues) == pytest.approx(whole, rel=1e-9)
    monkeypatch.setattr(smooth_null, "MAX_WEIGHTS", 120 * bank.size)
    fewer = smooth_thresholds(bank, components, eigenvalues)
    assert fewer == smooth_thresholds(bank, components, eigenvalues, draws=120) != whole
    monkeypatch.setattr(smooth_null, "MAX_WEIGHTS", bank.size)
    fewest = smooth_thresholds(bank, components, eigenvalues)
    assert fewest == smooth_thresholds(bank, components, eigenvalues, draws=100)


def test_single_pixels_have_no_neighbors(random):
    bank = random.normal(size=(8, 3, 1, 1))
    assert draw_smooth_filters(bank, 3, random).shape == (3, 8, 3, 1, 1)


def test_there_are_enough_draws_for_two_digits():
    assert smooth_null.DRAWS * (1 - smooth_null.LEVEL) >= 20
