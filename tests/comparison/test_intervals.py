"""Confidence intervals in results: their half-samples, counts, attributes and refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from samples import LEAVES, RECIPE, noise_images, small_cnn, smooth_images
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import pipeline
from repsim_energy.errors import TrainingError
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.numerics.inference.half_samples import half_samples, random_groups
from repsim_energy.scheduling.chunks import moments_of_groups

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")

GROUPS = 20
TRAINED = "linear_cnn:filters=8,linear_cnn:filters=12"


def banks(*names):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(8, 3, 3, 3, generator=generator) for name in names}


def halves_of(count, groups=GROUPS):
    parts = random_groups(count, groups)
    for half in half_samples(groups):
        yield np.sort(np.concatenate([parts[g] for g in np.flatnonzero(half)]))


@pytest.fixture
def pictures():
    return smooth_images(torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def trained():
    return rs.compare(TRAINED, LEAVES, seeds=3, recipe=RECIPE)


def test_similarities_of_half_samples_are_those_of_half_of_the_images(pictures):
    given = banks("a", "b")
    result = rs.compare(given, pictures)
    assert result.sizes["half"] == GROUPS - 1
    found = result.half_similarity[:, 0, 0, 0, 0, 1, 0].values
    for value, half in zip(found, halves_of(60), strict=True):
        basis = rs.patch_moments(pictures.images[half], (3, 3)).basis()
        profiles = (rs.energy_profile(bank, basis) for bank in given.values())
        assert value == pytest.approx(rs.profile_similarity(*profiles), abs=1e-9)


@pytest.mark.parametrize("floats", [False, True])
def test_half_samples_change_no_other_number(pictures, floats):
    images = pictures.images / 255 if floats else pictures.images
    without, with_halves = (rs.compare(banks("a", "b"), images, resamples=n) for n in (0, 20))
    assert (without.attrs["interval_over"], with_halves.attrs["interval_over"]) == ("", "images")
    own = ["half_similarity", "ci_low", "ci_high", "reliability"]
    one, other = (r.drop_vars(own).drop_attrs() for r in (without, with_halves))
    xr.testing.assert_identical(one, other)


def test_moments_of_groups_have_the_same_bits_elsewhere(pictures):
    """On a cluster a group is summed in pieces."""
    groups = random_groups(60, 8)
    elsewhere = SimpleNamespace(is_local=False, in_order=lambda f, items: map(f, items))
    here = moments_of_groups(SimpleNamespace(is_local=True), pictures.images, (3, 3), groups)
    there = moments_of_groups(elsewhere, pictures.images, (3, 3), groups, large=0)
    for one, other, group in zip(here, there, groups, strict=True):
        assert one.count == other.count == len(group) * 100
        assert torch.equal(one.second, other.second)
    whole = rs.patch_moments(pictures.images, (3, 3))
    assert torch.equal(sum(part.second for part in here), whole.second)


def test_intervals_of_a_result_are_those_of_its_summary(trained):
    summary = rs.summarize(trained)
    assert trained.attrs["interval_over"] == summary.attrs["interval_over"] == "seeds, images"
    for name in ("ci_low", "ci_high", "n", "n_missing"):
        np.testing.assert_array_equal(trained[name].values[0, :, 0], summary[name].values)
    assert np.array_equal(rs.table(trained, "ci_high").values, summary.ci_high.values)
    assert trained.n.values[0, :, 0].tolist() == [[3, 9], [9, 3]]
    mean = summary["mean"].values
    assert ((summary.ci_low.values < mean) & (mean < summary.ci_high.values)).all()


def test_a_part_of_the_seeds_has_intervals_of_its_own(trained):
    part = trained.isel(seed=[0, 1], seed_ref=[0, 1])
    summary = rs.summarize(part)
    assert summary.n.values.tolist() == [[1, 4], [4, 1]]
    assert np.isnan(summary.ci_low.values.diagonal()).all(), "one pair has no spread over seeds"
    whole = rs.summarize(trained)
    assert summary.ci_low.values[0, 1] < whole.ci_low.values[0, 1]


def test_results_without_half_samples_have_intervals_over_seeds(trained):
    """Such as those of earlier versions, which lack the variables."""
    names = ["half_similarity", "ci_low", "ci_high", "n", "n_missing"]
    old = trained.drop_vars(names)
    del old.attrs["interval_over"], old.attrs["bounds"]
    summary = rs.summarize(old)
    assert summary.attrs["interval_over"] == "seeds"
    pairs = rs.summarize(trained)
    assert np.isfinite(summary.ci_low.values).all()
    assert (summary.ci_low.values != pairs.ci_low.values).any()
    assert rs.summarize(trained, "beyond_theory").attrs["interval_over"] == "seeds"


def test_failed_seeds_are_counted(trained, monkeypatch):
    train = pipeline.train_networks

    def with_a_failure(plan, scheduler, reporter, **options):
        networks, failures = train(plan, scheduler, reporter, **options)
        lost = next(iter(networks))
        del networks[lost]
        return networks, [*failures, f"{plan.label(lost)}: {TrainingError('lost')}"]

    monkeypatch.setattr(pipeline, "train_networks", with_a_failure)
    result = rs.compare(TRAINED, LEAVES, seeds=3, recipe=RECIPE)
    assert result.n.values[0, :, 0].tolist() == [[1, 6], [6, 3]]
    assert result.n_missing.values[0, :, 0].tolist() == [[2, 3], [3, 0]]
    assert rs.summarize(result).n_missing.values.tolist() == [[2, 3], [3, 0]]
    expected = trained.isel(seed=[1, 2], seed_ref=slice(None))
    table = expected.similarity.values[0, 0, :, 0, 1]
    assert rs.summarize(result)["mean"].values[0, 1] == pytest.approx(table.mean(), rel=1e-12)
    assert np.isfinite(result.ci_low.values[0, 0, 0, 1])


def test_a_network_without_finite_filters_is_counted(pictures):
    given = banks("a", "b")
    given["b"][0, 0, 0, 0] = torch.nan
    result = rs.compare(given, pictures)
    assert result.n_missing.values[0, :, 0].tolist() == [[0, 1], [1, 0]]
    assert np.isnan(result.ci_low).all()


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return {
        name: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)) for name in "ab"
    }


def activations(net, images, layers):
    with torch.no_grad():
        return rs.Activations(net[:layers](images))


def test_activations_of_half_samples_are_those_of_half_of_the_images(networks):
    images = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    chosen = {"images": 48, "normalize": "none", "layers": ["first", "output"]}
    result = rs.compare(networks, images, "cka", resamples=8, **chosen)
    metric, found = LinearCKA(), result.half_similarity[:, 0, 0, 0, 1, 0, 1, 0, 1].values
    assert result.attrs["interval_over"] == "images"
    for value, half in zip(found, halves_of(48, 8), strict=True):
        a, b = (metric.represent(activations(net, images[half], 3)) for net in networks.values())
        assert value == pytest.approx(metric.compare(a, b), abs=1e-6)
    within_a = result.ci_low.values[0, 0, :, 0, 0]
    assert np.isnan(within_a.diagonal()).all(), "a layer is not compared with itself"
    assert np.isfinite(within_a[0, 1]), "two layers of one network"


def test_metrics_that_see_batches_take_half_of_the_batches(networks):
    images = torch.rand(96, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    result = rs.compare(networks, images, "cka:batch=12", images=96, resamples=20)
    assert result.sizes["half"] == 7, "eight batches"
    values = result.half_similarity[:, 0, 0, 0, 0, 0, 1, 0, 0].values
    assert np.ptp(values) > 0
    whole = float(result.similarity[0, 0, 0, 0, 0, 1, 0, 0])
    assert result.ci_low.values[0, 0, 0, 0, 1, 0] < whole < result.ci_high.values[0, 0, 0, 0, 1, 0]


def test_seeds_alone_vary_in_metrics_on_activations_by_default():
    result = rs.compare("linear_cnn:filters=8", LEAVES, "cka", seeds=3, recipe=RECIPE, images=40)
    assert (result.attrs["interval_over"], result.sizes["half"]) == ("seeds", 0)
    assert np.isfinite(result.ci_low.values).all()


@pytest.mark.parametrize("resamples", [1, 3, -1, 2.5, True, "20"])
def test_numbers_of_groups_that_mean_nothing_are_refused(pictures, resamples):
    with pytest.raises(rs.UsageError, match=r"got resamples=.*expected 0 for none"):
        rs.compare(banks("a", "b"), pictures, resamples=resamples)


def test_more_groups_than_images_or_batches_are_refused(pictures, networks):
    with pytest.raises(rs.UsageError, match="at most the number of images, 60"):
        rs.compare(banks("a", "b"), pictures, resamples=61)
    images = noise_images(36, (3, 8, 8))
    with pytest.raises(rs.UsageError, match=r"3 batches, expected at least 4.*resamples=0"):
        rs.compare(networks, images, "cka:batch=12", images=36, resamples=8)


def test_few_images_have_no_half_samples():
    result = rs.compare(banks("a", "b"), noise_images(3, (3, 12, 12)))
    assert (result.attrs["interval_over"], result.sizes["half"]) == ("", 0)


def test_large_patches_have_no_half_samples_by_default():
    images = noise_images(60, (3, 16, 16))
    generator = torch.Generator().manual_seed(0)
    given = {name: torch.randn(8, 3, 12, 12, generator=generator) for name in "ab"}
    assert rs.compare(given, images).sizes["half"] == 0


def test_a_command_says_how_many_groups(repsim, tmp_path):
    np.save(tmp_path / "a.npy", banks("a")["a"].numpy())
    net = small_cnn(2, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    out = tmp_path / "r.nc"
    repsim(
        *("compare", "--models", tmp_path / "net.pt", "--dataset", LEAVES),
        *("--resamples", 8, "-o", out),
    )
    assert rs.open_result(out).sizes["half"] == 7
