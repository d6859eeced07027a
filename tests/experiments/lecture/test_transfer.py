"""Transfer: features and classifier against slow loops, and what they must not depend on."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import repsim_energy as rs
from repsim_energy.errors import DataError
from repsim_energy.experiments.lecture.linear_classifier import (
    PENALTIES,
    _outputs,
    bank_accuracy,
    classifier_accuracy,
)
from repsim_energy.experiments.lecture.sparse_features import sparse_features
from repsim_energy.experiments.lecture.transfer_banks import (
    WHOLE,
    parts_of_frames,
    random_bank,
    whole_bank,
)
from repsim_energy.experiments.lecture.transfer_parts import rank_correlation


@pytest.fixture(scope="module")
def images():
    rng = torch.Generator().manual_seed(5)
    coarse = torch.rand(60, 3, 4, 4, generator=rng)
    noise = torch.rand(60, 3, 13, 13, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, (13, 13), mode="bilinear")
    return ((0.8 * smooth + 0.2 * noise) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def basis(images):
    return rs.patch_moments(images, (5, 5)).basis()


def slow_features(image, filters, mean, share, soft):
    """Return the features of one image, patch by patch in float64."""
    pixels = image.double().numpy() / 255
    places = range(0, pixels.shape[1] - 4, 2)
    patches = np.array(
        [[pixels[:, i : i + 5, j : j + 5].ravel() - mean for j in places] for i in places]
    )
    responses = np.einsum("kd,ijd->kij", filters, patches)
    order = np.argsort(-np.abs(responses), axis=None, kind="stable")
    count = max(1, round(share * responses.size))
    kept = np.zeros(responses.size)
    kept[order[:count]] = responses.ravel()[order[:count]]
    if soft and count < responses.size:
        tau = np.abs(responses.ravel()[order[count]])
        kept = np.sign(kept) * np.maximum(np.abs(kept) - tau, 0)
    kept = kept.reshape(responses.shape)
    bounds = [(r * len(places) // 4, -(-(r + 1) * len(places) // 4)) for r in range(4)]
    return [
        np.maximum(sign * kept[k, a:b, c:d], 0).mean()
        for sign in (1, -1)
        for k in range(len(filters))
        for a, b in bounds
        for c, d in bounds
    ]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.1, 1.0])
def test_features_are_those_of_the_slow_loop(share, soft, images, basis):
    bank = random_bank(basis, 0, filters=6)
    found = sparse_features(images[:3], bank, basis.mean, share, soft=soft)
    mean, filters = basis.mean.numpy(), bank.flatten(1).numpy()
    expected = [slow_features(image, filters, mean, share, soft) for image in images[:3]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_features_scale_with_the_bank_and_swap_with_its_sign(images, basis):
    bank = random_bank(basis, 1, filters=6)
    features = sparse_features(images, bank, basis.mean, 0.1)
    assert sparse_features(images, bank * 4, basis.mean, 0.1).equal(features * 4)
    swapped = sparse_features(images, -bank, basis.mean, 0.1).unflatten(1, (2, -1)).flip(1)
    assert swapped.flatten(1).equal(features)


def test_bytes_and_floats_of_one_image_have_equal_features(images, basis):
    bank = random_bank(basis, 1, filters=6)
    floats = sparse_features(images.float() / 255, bank, basis.mean, 0.3)
    bytes_ = sparse_features(images, bank, basis.mean, 0.3)
    torch.testing.assert_close(floats, bytes_)


@pytest.fixture
def classes(rng):
    labels = torch.arange(80) % 3
    centers = torch.randn(3, 7, generator=rng, dtype=torch.float64)
    return centers[labels] + torch.randn(80, 7, generator=rng, dtype=torch.float64), labels


def test_the_classifier_minimizes_its_loss(classes):
    """The gradient of the loss is zero, with more images than features and with fewer."""
    features, labels = classes
    targets = torch.nn.functional.one_hot(labels).double()
    wide = torch.cat([features, features[:, :1] * torch.linspace(1, 2, 100) ** 2], 1)
    for x in (features, wide + torch.randn(wide.shape, dtype=torch.float64) * 0.1):
        z = (x - x.mean(0)) / x.std(0, correction=0)
        for penalty, outputs in zip((0.1, 3.0), _outputs(x, targets, x, (0.1, 3.0)), strict=True):
            # The weights of the minimum are Z'(Y - outputs) / (penalty n).
            weights = z.T @ (targets - outputs) / (penalty * len(x))
            again = z @ weights + targets.mean(0)
            torch.testing.assert_close(again, outputs, rtol=0, atol=1e-9)


def test_accuracy_does_not_depend_on_scales_shifts_and_constants(classes, rng):
    features, labels = classes
    expected = classifier_accuracy(features[:60], labels[:60], features[60:], labels[60:])
    assert expected[0] > 0.5
    assert expected[1] in PENALTIES
    changed = features * torch.logspace(-6, 6, 7, dtype=torch.float64) + 5
    constant = torch.cat([changed, torch.full((80, 1), 3.0)], 1)
    assert classifier_accuracy(constant[:60], labels[:60], constant[60:], labels[60:]) == expected


def test_features_without_information_are_at_chance(rng):
    """A control: labels that were shuffled cannot be predicted."""
    features = torch.randn(600, 30, generator=rng)
    labels = torch.randint(0, 4, (600,), generator=rng)
    accuracy, _ = classifier_accuracy(features[:300], labels[:300], features[300:], labels[300:])
    assert accuracy == pytest.approx(0.25, abs=0.1)


def test_too_few_images_are_refused(classes):
    features, labels = classes
    for n, m in ((4, 10), (20, 0)):
        with pytest.raises(DataError, match=f"got {n} training and {m} test"):
            classifier_accuracy(features[:n], labels[:n], features[:m], labels[:m])


@pytest.mark.parametrize("name", WHOLE)
def test_whole_banks_have_the_numbers_of_filters_that_the_page_states(name, basis):
    pytest.importorskip("pywt")
    pytest.importorskip("curvelets")
    bank = whole_bank(name, basis)
    assert len(bank) == {"db4": 300, "curvelet": 39}.get(name, 75)


def test_parts_are_equally_large_different_and_vary(basis):
    pytest.importorskip("pywt")
    pytest.importorskip("curvelets")
    parts = {name: build(basis) for _, name, build in parts_of_frames(3)}
    assert len(parts) == 32
    assert {tuple(bank.shape) for bank in parts.values()} == {(24, 3, 5, 5)}
    profiles = np.stack([rs.energy_profile(bank, basis) for bank in parts.values()])
    assert np.isfinite(rs.profile_similarities(profiles)).all()  # none is flat
    banks = [bank.numpy().tobytes() for bank in parts.values()]
    assert len(set(banks)) == len(banks)


def test_thirds_do_not_overlap_and_go_from_coarse_to_fine(basis):
    pytest.importorskip("pywt")
    parts = {name: build(basis).flatten(1) for _, name, build in parts_of_frames(3)}
    covariance = basis.components.T @ torch.diag(basis.eigenvalues) @ basis.components
    for name in ("dct", "fourier", "haar", "pca"):
        coarse, middle, fine = (
            parts[f"{name}, {region}"] for region in ("coarse", "middle", "fine")
        )
        assert (coarse @ fine.T).abs().max() < 1e-9
        energy = [float(((x @ covariance) * x).sum()) for x in (coarse, middle, fine)]
        assert energy[0] > max(energy[1:])


def test_gray_images_have_parts_of_their_frames(images):
    pytest.importorskip("pywt")
    pytest.importorskip("curvelets")
    gray = rs.patch_moments(images[:, :1], (5, 5)).basis()
    shapes = {tuple(build(gray).shape) for _, _, build in parts_of_frames(1)}
    assert shapes == {(8, 1, 5, 5)}


def test_rank_correlation_is_that_of_scipy_and_its_interval_covers(rng):
    numbers = np.random.default_rng(2)
    x, y = numbers.normal(size=(2, 30))
    r, low, high, n = rank_correlation(x, y)
    assert (r, n) == (pytest.approx(spearmanr(x, y).statistic), 30)
    assert low < r < high
    assert rank_correlation(np.exp(x), y**3)[0] == pytest.approx(r)
    assert rank_correlation(x, np.where(x > 9, np.nan, x))[:3] == (1.0, 1.0, 1.0)
    assert np.isnan(rank_correlation(x[:3], y[:3])[0])
    assert np.isnan(rank_correlation(x, np.ones(30))[0])
    covered = 0
    for _ in range(400):  # ranks of normal pairs with r = 0.5: Spearman's is 6/pi asin(r/2)
        a, b = numbers.normal(size=(2, 40))
        _, low, high, _ = rank_correlation(a, 0.5 * a + np.sqrt(0.75) * b)
        covered += low < 6 / np.pi * np.arcsin(0.25) < high
    assert covered / 400 == pytest.approx(0.95, abs=0.04)


@pytest.mark.slow  # also a row of reproduce, of which each test run has all
def test_the_command_writes_rows_figure_and_result(repsim, tmp_path):
    pytest.importorskip("pywt")
    pytest.importorskip("curvelets")
    done = repsim("experiment", "transfer", "--scale", "smoke", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "rank correlation" in done.stdout
    assert (tmp_path / "transfer.svg").stat().st_size > 1000
    accuracy = rs.open_result(tmp_path / "transfer.nc", group="accuracy").accuracy
    for bank in accuracy.bank.values:
        known = np.isfinite(accuracy.sel(bank=bank)).all(["threshold", "share"]).values.tolist()
        assert known == [True, bank not in WHOLE]
    assert (((accuracy >= 0) & (accuracy <= 1)) | accuracy.isnull()).all()
    hard, soft = (accuracy.sel(threshold=one, share=1.0).values for one in ("hard", "soft"))
    np.testing.assert_array_equal(hard, soft)
    parts = rs.open_result(tmp_path / "transfer.nc", group="parts")
    assert np.isfinite(parts.similarity).all()
    assert (np.abs(parts.similarity) <= 1).all()


IMAGES = os.environ.get("REPSIM_TEST_IMAGES")


@pytest.mark.slow
@pytest.mark.skipif(not IMAGES, reason="REPSIM_TEST_IMAGES names no folder of real images")
def test_largest_cosines_of_real_images_classify_far_above_chance():
    data = rs.load_images(f"npz:path={Path(IMAGES) / 'cifar10-subset.npz'}")
    basis = rs.patch_moments(data.train.images, (5, 5)).basis()
    bank = whole_bank("dct", basis)
    accuracy = {share: bank_accuracy(data, bank, basis.mean, share) for share in (0.03, 1.0)}
    assert 0.4 < accuracy[0.03] < accuracy[1.0]
    assert accuracy[1.0] == pytest.approx(0.58, abs=0.02)
