"""Split halves of the filters of one bank, the influence of each filter, and unit norms."""

import numpy as np
import pytest
import torch
from samples import LEAVES, RECIPE, noise_images, smooth_images

import repsim_energy as rs
from repsim_energy.comparison import reliability
from repsim_energy.metrics.energy import EnergyProfileCorrelation

COUNT = 64


@pytest.fixture(scope="module")
def basis():
    images = smooth_images(torch.Generator().manual_seed(0)).images
    return rs.patch_moments(images, (3, 3)).basis()


def smooth_bank(seed=0, loud=1.0):
    """Independent filters, in which neighboring weights correlate at 0.5; one may be louder."""
    near = 0.5 ** torch.arange(3)[:, None].sub(torch.arange(3)).abs().double()
    root = torch.linalg.cholesky(torch.kron(torch.eye(3).double(), torch.kron(near, near)))
    draw = torch.Generator().manual_seed(seed)
    bank = torch.randn(COUNT, 27, generator=draw, dtype=torch.float64) @ root.T
    bank[0] *= loud
    return bank.reshape(-1, 3, 3, 3)


def mean_reliability(basis, banks=20, metric="energy", **options):
    values = [
        rs.split_half_reliability(smooth_bank(seed, **options), basis, metric)
        for seed in range(banks)
    ]
    return float(np.mean(values))


def test_it_is_the_similarity_of_two_banks_of_one_law(basis):
    """Of independent filters. The mean of 300 pairs has a standard error of 0.001."""
    profiles = [rs.energy_profile(smooth_bank(seed), basis) for seed in range(600)]
    r = [rs.profile_similarity(a, b) for a, b in zip(profiles[::2], profiles[1::2], strict=True)]
    assert mean_reliability(basis) == pytest.approx(np.mean(r), abs=0.006)
    assert 0.94 < np.mean(r) < 0.98


def test_one_loud_filter_lowers_it_and_unit_norms_restore_it(basis):
    plain, loud = mean_reliability(basis), mean_reliability(basis, loud=10.0)
    unit = mean_reliability(basis, loud=10.0, metric="energy:norm=unit")
    assert 0.7 < loud < 0.85
    assert unit == pytest.approx(plain, abs=0.01)


def test_it_is_spearman_and_brown_of_the_mean_over_random_halves(basis):
    bank = smooth_bank()[:7]
    random, values = np.random.default_rng(0), []
    for _ in range(10):
        order = random.permutation(7)
        halves = (rs.energy_profile(bank[order[at]], basis) for at in (slice(0, 3), slice(3, 6)))
        values.append(rs.profile_similarity(*halves))
    r = np.mean(values)
    found = rs.split_half_reliability(bank, basis, splits=10)
    assert found == pytest.approx(2 * r / (1 + r), rel=1e-12)


def test_it_does_not_depend_on_how_much_is_gathered_at_once(basis, monkeypatch):
    whole = rs.split_half_reliability(smooth_bank(), basis)
    monkeypatch.setattr(reliability, "AT_ONCE", 2000)
    assert rs.split_half_reliability(smooth_bank(), basis) == pytest.approx(whole, rel=1e-14)


def test_equal_filters_have_the_reliability_1(basis):
    bank = smooth_bank()[:1].repeat(8, 1, 1, 1)
    assert rs.split_half_reliability(bank, basis) == pytest.approx(1, abs=1e-12)


def test_a_single_filter_has_none(basis):
    with pytest.warns(rs.UndefinedSimilarityWarning, match="of 1 filters is undefined"):
        assert np.isnan(rs.split_half_reliability(smooth_bank()[:1], basis))


def test_a_metric_without_compare_all_has_the_same(basis):
    class Plain:
        name, operates_on, direction = "plain", "filters", "similarity"
        bounds, invariances = (-1.0, 1.0), frozenset({"permutation"})

        def represent(self, subject):
            return rs.energy_profile(subject.filters, subject.basis)

        def compare(self, a, b):
            return rs.profile_similarity(a, b)

        def null_interval(self, a, b):
            return (np.nan, np.nan)

    found = rs.split_half_reliability(smooth_bank(), basis, Plain())
    assert found == pytest.approx(rs.split_half_reliability(smooth_bank(), basis), rel=1e-9)


def test_metrics_that_have_no_reliability_are_refused(basis):
    class Distance(EnergyProfileCorrelation):
        direction = "distance"

    with pytest.raises(rs.UsageError, match="expected a similarity whose highest value is 1"):
        rs.split_half_reliability(smooth_bank(), basis, Distance())
    with pytest.raises(rs.UsageError, match="expected one on filters, such as energy"):
        rs.split_half_reliability(smooth_bank(), basis, "cka")
    with pytest.raises(rs.UsageError, match="got splits=0"):
        rs.split_half_reliability(smooth_bank(), basis, splits=0)


def test_the_influence_of_a_filter_is_the_change_without_it(basis):
    bank, other = smooth_bank(0, loud=10.0), smooth_bank(1)
    profiles = [rs.energy_profile(x, basis) for x in (bank, bank[1:], other)]
    found = rs.filter_influence(bank, basis, other)
    expected = rs.profile_similarity(profiles[0], profiles[2]) - rs.profile_similarity(
        profiles[1], profiles[2]
    )
    assert found.shape == (COUNT,)
    assert found[0] == pytest.approx(expected, rel=1e-9)
    own = rs.filter_influence(bank, basis)
    assert own[0] == pytest.approx(1 - rs.profile_similarity(*profiles[:2]), rel=1e-9)
    assert own.argmax() == 0
    assert own[0] > 10 * np.sort(own)[-2]


def test_filters_that_are_zero_have_no_influence_on_unit_norms(basis):
    bank = smooth_bank()
    bank[3] = 0
    assert rs.filter_influence(bank, basis, smooth_bank(1), "energy:norm=unit")[3] == 0
    with pytest.raises(rs.UsageError, match="got 1 filters, expected at least two"):
        rs.filter_influence(bank[:1], basis)


def test_results_have_the_reliability_of_every_network(basis):
    images = smooth_images(torch.Generator().manual_seed(0))
    result = rs.compare({"a": smooth_bank(0), "b": smooth_bank(1, loud=10.0)}, images)
    expected = [
        rs.split_half_reliability(bank.float(), basis)
        for bank in (smooth_bank(0), smooth_bank(1, loud=10.0))
    ]
    np.testing.assert_allclose(result.reliability.values.ravel(), expected, rtol=1e-6)
    assert (result.filters_left_out == 0).all()


def test_every_number_of_a_result_is_of_the_profiles_with_unit_norms():
    """Similarities, fits, residuals and snapshots speak of one and the same profile."""
    result = rs.compare(
        "linear_cnn:filters=8", LEAVES, "energy:norm=unit", seeds=2, recipe=RECIPE, stage="trained"
    )
    energy = result.energy.sel(stage="trained").values[0, 0]
    r = rs.profile_similarity(energy[0], energy[1])
    assert float(result.similarity[0, 0, 0, 0, 0, 1]) == pytest.approx(r, rel=1e-12)
    beyond = rs.beyond_theory(energy[0], energy[1], result.eigenvalue.values[0])
    assert float(result.beyond_theory[0, 0, 0, 0, 0, 1]) == pytest.approx(beyond, rel=1e-9)
    np.testing.assert_allclose(np.square(energy).sum(-1), 1, rtol=1e-6)
    snapshots = result.snapshot_energy.values[0, 0, :, -1]
    np.testing.assert_allclose(snapshots, energy, rtol=1e-6)


def test_filters_that_are_zero_are_left_out_and_counted():
    bank = smooth_bank()
    silent = torch.cat([bank, torch.zeros(3, 3, 3, 3, dtype=torch.float64)])
    images = noise_images(60, (3, 12, 12))
    result = rs.compare({"a": bank, "b": silent}, images, "energy:norm=unit")
    assert result.filters_left_out.values.ravel().tolist() == [0, 3]
    assert float(result.similarity[0, 0, 0, 0, 1, 0]) == pytest.approx(1, abs=1e-12)


def test_unit_norms_make_the_scale_of_each_filter_irrelevant(basis):
    metric = EnergyProfileCorrelation(norm="unit")
    scales = torch.linspace(0.1, 10, COUNT).reshape(-1, 1, 1, 1)
    a, b = (
        metric.represent(rs.FilterBank(bank, basis))
        for bank in (smooth_bank(), scales * smooth_bank())
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)
    assert "orthogonal" not in metric.invariances
