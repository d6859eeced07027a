"""Filters of different sizes on one basis: ``rs.compare(patch=)`` and ``--patch``."""

import json

import numpy as np
import pytest
import samples
import torch
from samples import noise_images, smooth_images
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import placed_bank
from repsim_energy.errors import RepsimWarning, ShapeError, UsageError

FITS = ("fit_correlation", "fit_steps", "fit_profile", "theory_residual")
PAIRS = ("similarity", "null_low", "null_high", "beyond_theory", "beyond_null_low")


@pytest.fixture
def images():
    return smooth_images(torch.Generator().manual_seed(0))


def bank(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of(result, name):
    return result[name].squeeze(drop=True).values


def whitening_bank(images, size, count=64, seed=0, residual=0.0):
    """Filters that follow the theory at their own size, up to a residual of each component."""
    basis = rs.patch_moments(images.images, size).basis()
    random = np.random.default_rng(seed)
    energy = basis.eigenvalues.numpy() ** -0.5 * np.exp(random.normal(0, residual, len(basis.mean)))
    mixing = torch.linalg.qr(bank(count, len(energy), seed=seed).double())[0]
    filters = mixing @ (torch.from_numpy(energy)[:, None] * basis.components)
    return filters.reshape(count, *basis.patch).float()


def test_a_bank_is_the_same_in_whatever_kernel_it_is_stored(images):
    """Every number, with the theory and all intervals with others."""
    small = bank(16, 3, 2, 2)
    stored = torch.zeros(16, 3, 4, 3)
    stored[:, :, 1:3, 1:3] = small
    banks = {"small": small, "stored": stored, "other": bank(16, 3, 3, 3, seed=1)}
    result = rs.compare(banks, images, patch="4x4")
    first, second = result.sel(model="small"), result.sel(model="stored")
    for name in ("energy", *FITS):
        np.testing.assert_array_equal(first[name], second[name])
    similarity = of(result, "similarity")
    assert similarity[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(similarity[0, 2], similarity[1, 2])
    assert result.kernel.values.tolist() == ["2x2", "4x3", "3x3"]
    assert result.attrs["patch"] == "4x4"
    assert result.sizes["component"] == 48


def test_filters_that_fill_the_patches_keep_every_number(images):
    banks = {"a": bank(16, 3, 3, 3), "b": bank(16, 3, 3, 3, seed=1)}
    plain, asked = rs.compare(banks, images), rs.compare(banks, images, patch=(3, 3))
    np.testing.assert_allclose(plain.reliability, asked.reliability, rtol=1e-12)  # sums of halves
    for name in set(plain.data_vars) - {"reliability"}:
        np.testing.assert_array_equal(plain[name], asked[name], err_msg=name)


def test_a_dilated_layer_is_the_larger_one_with_holes(images):
    holed = nn.Conv2d(3, 8, 2, dilation=2, bias=False)
    whole = torch.zeros(8, 3, 3, 3)
    whole[:, :, ::2, ::2] = holed.weight.detach()
    models = {"holed": nn.Sequential(holed), "whole": whole}
    for patch in ("4x4", "3x3"):
        result = rs.compare(models, images, patch=patch, stage="trained", resamples=0)
        first, second = of(result, "energy")[:, 1]
        np.testing.assert_allclose(first, second, 1e-6)
    assert result.kernel.values.tolist() == ["2x2 dilated by 2x2", "3x3"]


@pytest.mark.parametrize("arguments", [{"stride": 2}, {"stride": 3, "padding": 1}])
def test_stride_and_padding_change_no_number(arguments, images):
    plain, other = (nn.Conv2d(3, 8, 3, **one) for one in ({}, arguments))
    other.load_state_dict(plain.state_dict())
    models = {"plain": nn.Sequential(plain), "other": nn.Sequential(other)}
    result = rs.compare(models, images, patch="5x5", stage="trained", resamples=0)
    np.testing.assert_array_equal(*of(result, "energy")[:, 1])


def test_grouped_filters_are_zero_in_other_channels(images):
    grouped = nn.Conv2d(3, 6, 3, groups=3, bias=False)
    whole = torch.zeros(6, 3, 3, 3)
    for k, one in enumerate(grouped.weight.detach()):
        whole[k, k // 2] = one[0]
    models = {"grouped": nn.Sequential(grouped), "whole": whole}
    result = rs.compare(models, images, patch="4x5", stage="trained")
    np.testing.assert_allclose(*of(result, "energy")[:, 1], 1e-6)


def test_the_theory_is_that_of_the_patches_that_filters_see(images):
    """Whitening filters of 3x3 pixels are at the end of the theory, on larger patches too."""
    banks = {"small": whitening_bank(images, (2, 2)), "large": whitening_bank(images, (4, 4))}
    result = rs.compare(banks, images, patch="4x4")
    at = result.sel(stage="trained")
    assert (at.fit_correlation > 0.99).all()
    small = at.sel(model="small")
    np.testing.assert_allclose(small.fit_profile / small.energy, 1, atol=0.1)


def test_what_is_shared_beyond_the_theory_has_an_interval_of_the_own_components(images):
    """Residuals of 12 own components are correlated at 48, and the closed form is too narrow."""
    banks = {
        f"bank {seed}": whitening_bank(images, (2, 2), seed=seed, residual=0.3)
        for seed in range(16)
    }
    result = rs.compare(banks, images, patch="4x4", null="metric", resamples=0)
    upper = np.triu_indices(16, 1)
    names = ("beyond_theory", "beyond_null_low", "beyond_null_high")
    value, low, high = (of(result, name)[upper] for name in names)
    assert 0.9 <= ((low <= value) & (value <= high)).mean() <= 0.99
    closed = rs.pearson_null_interval(48)[1]
    assert (np.abs(value) <= closed).mean() < 0.8
    assert (high > closed + 0.1).all()
    assert (low < -closed - 0.1).all()


def test_intervals_depend_on_the_two_networks_alone(images):
    banks = {
        f"{seed}": whitening_bank(images, (2, 2), seed=seed, residual=0.3) for seed in range(3)
    }
    banks["wide"] = whitening_bank(images, (2, 3), seed=3, residual=0.3)
    names = ("null_low", "null_high", "beyond_null_low", "beyond_null_high")
    for a, b in (("0", "2"), ("1", "wide")):
        found = []
        for order in ([a, b], [b, a], list(banks)):
            given = {name: banks[name] for name in order}
            result = rs.compare(given, images, patch="4x4", null="metric", resamples=0)
            pair = result[[*names]].sel(model=a, model_ref=b).squeeze()
            found.append([float(pair[name]) for name in names])
        np.testing.assert_allclose(found, [found[0]] * 3, 1e-12)


class Everything:
    """A metric that records its input, and compares numbers of filters."""

    name, operates_on, direction = "everything", "filters", "similarity"
    bounds, invariances = (0.0, 1.0), frozenset({"permutation"})

    def __init__(self):
        self.seen = []

    def represent(self, subject):
        self.seen.append(subject)
        return np.array([rs.energy_profile(subject.filters, subject.basis).sum()])

    def compare(self, a, b):
        low, high = sorted((float(a[0]), float(b[0])))
        return low / high

    def null_interval(self, a, b):
        return (0.1, 0.2)


def test_other_metrics_receive_the_filters_at_all_places(images):
    metric = Everything()
    banks = {"a": bank(5, 3, 2, 2), "b": bank(4, 3, 4, 3), "c": bank(6, 3, 4, 4)}
    with pytest.warns(RepsimWarning, match="the null intervals of 'everything' are not known"):
        result = rs.compare(banks, images, metric, patch="4x4", null="metric", resamples=0)
    assert [len(one.filters) for one in metric.seen] == [5 * 9, 4 * 2, 6]
    for one, (name, originals) in zip(metric.seen, banks.items(), strict=True):
        assert torch.equal(one.originals, originals)
        energy = result.energy.sel(model=name, stage="trained").values.ravel()
        np.testing.assert_allclose(rs.energy_profile(one.filters, one.basis), energy, 1e-6)
    low = of(result, "null_low")
    assert np.isnan(low[0, 1])
    assert low[0, 2] == low[1, 2] == 0.1


def test_filters_are_placed_for_metrics_that_ask_for_them_alone(images, monkeypatch):
    monkeypatch.setattr(placed_bank, "available_memory", lambda: 1000.0)
    banks = {"a": bank(5, 3, 2, 2), "b": bank(4, 3, 3, 3)}
    assert np.isfinite(rs.compare(banks, images, patch="4x4").similarity).all()
    with pytest.raises(UsageError, match=r"5 filters at 9 places take .* use a smaller patch="):
        rs.compare(banks, images, "covariance", patch="4x4")


def small(kernel):
    def build(num_classes, in_channels):
        first = nn.Conv2d(in_channels, 6, kernel, stride=kernel - 2)
        pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        return nn.Sequential(first, pool, nn.Linear(24, num_classes))

    return build


def test_networks_of_two_kernels_are_trained_drawn_and_reported(tmp_path):
    result = rs.compare(
        {"three": small(3), "five": small(5)},
        noise_images(60, (3, 12, 12)),
        recipe=samples.RECIPE,
        seeds=2,
        patch="5x5",
    )
    assert result.attrs["stage"] == "change"
    assert np.isfinite(result.energy).all()
    assert np.isfinite(result.snapshot_energy).all()
    assert np.isfinite(result.similarity).all()
    assert np.isfinite(of(result, "null_low")[~np.eye(4, dtype=bool).reshape(2, 2, 2, 2)]).all()
    changed = result.energy.sel(stage="change").values[0]
    np.testing.assert_allclose(result.snapshot_energy.values[0, :, :, -1], changed)
    rs.save_result(result, tmp_path / "r.nc")
    again = rs.open_result(tmp_path / "r.nc")
    assert again.kernel.values.tolist() == ["3x3", "5x5"]
    rs.write_report(again, tmp_path / "r.html")
    theory = rs.plot.table(again, "profiles").query("model == 'three'").theory
    curve = again.fit_profile.sel(model="three", stage="change").values.reshape(2, -1)
    assert max(np.corrcoef(one, theory)[0, 1] for one in curve) == pytest.approx(1)


@pytest.mark.parametrize("patch", ["7", "x", "0x3", (7,), (7, -1), (2.5, 2), None, [5, 5, 3]])
def test_other_words_are_refused(patch, images):
    if patch == "7":
        assert rs.compare(bank(4, 3, 3, 3), images, patch="3").attrs["patch"] == "3x3"
        return
    with pytest.raises(UsageError, match="expected auto, or height and width in pixels such as"):
        rs.compare(bank(4, 3, 3, 3), images, patch=patch)


def test_refusals_name_the_smallest_patch_that_contains_all(images):
    banks = {"a": bank(4, 3, 3, 5), "b": bank(4, 3, 4, 2)}
    with pytest.raises(ShapeError, match=r"'a' sees 3x5x3 .* 'b' 4x2x3, .* with patch=4x5"):
        rs.compare(banks, images)
    with pytest.raises(ShapeError, match=r"'a' has filters of 3x5 pixels.*use patch=4x5"):
        rs.compare(banks, images, patch="4x4")
    assert rs.compare(banks, images, patch="4x5").sizes["component"] == 60


def test_it_is_refused_with_metrics_on_activations(images):
    with pytest.raises(UsageError, match="patch=5x5, which is for metrics that compare filters"):
        rs.compare(small(3), images, "cka", patch="5x5")


def test_the_command_compares_and_names_the_option(repsim, tmp_path, pictures_npz):
    files = []
    for name, kernel in (("a", 3), ("b", 5)):
        files.append(tmp_path / f"{name}.pt")
        torch.save({"conv1.weight": bank(8, 3, kernel, kernel)}, files[-1])
    arguments = ["compare", "--models", ",".join(map(str, files)), "--dataset", str(pictures_npz)]
    refused = repsim(*arguments)
    assert refused.returncode == 2
    assert "place their filters in larger patches with --patch 5x5" in refused.stderr
    answered = repsim(*arguments, "--patch", "5x5", "--json", "-q")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["attrs"]["patch"] == "5x5"
