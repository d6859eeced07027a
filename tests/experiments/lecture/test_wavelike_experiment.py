"""Share of wave-like filters: banks against slow loops, intervals, and networks of strangers."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import repsim_energy as rs
from repsim_energy.experiments.lecture import filter_banks, wavelike
from repsim_energy.experiments.lecture.filter_banks import PATCH
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.scales import SCALES
from repsim_energy.experiments.setting import make_setting

SMOKE = SCALES["smoke"]


@pytest.fixture
def setting():
    options = {"components": SMOKE.components, "recipe": SMOKE.recipe, "seeds": (0,)}
    return make_setting(rs.load_registry(), SMOKE, SMOKE.sources, **options)


def test_the_interval_is_that_of_wilson():
    for passed, count in ((0, 10), (3, 10), (200, 1000), (7, 7)):
        z, p = 1.959963984540054, passed / count
        center = (p + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * np.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
        assert wavelike.interval(passed, count) == pytest.approx((center - half, center + half))


def test_patches_are_parts_of_the_images():
    images = torch.randn(3, 1, 12, 15, generator=torch.Generator().manual_seed(0))
    places = {
        images[n, 0, y : y + PATCH, x : x + PATCH].numpy().astype(np.float64).tobytes(): (n, y, x)
        for n in range(3)
        for y in range(12 - PATCH + 1)
        for x in range(15 - PATCH + 1)
    }
    patches = filter_banks.random_patches(images, 2000)
    assert {places[patch.tobytes()] for patch in patches} == set(places.values())


def test_smooth_noise_falls_as_one_over_frequency():
    """The spectrum of whole periodic images is exact; that of parts falls a little less."""
    parts = filter_banks.smooth_noise(np.random.default_rng(0), 400, 32)
    window = np.hanning(32)
    power = np.square(np.abs(np.fft.fft2(parts[:, 0] * np.outer(window, window)))).mean(0)
    slope = np.log(power[0, 12] / power[0, 4]) / np.log(12 / 4)
    assert slope == pytest.approx(-2, abs=0.2)


def test_independent_components_separate_patches(setting):
    pytest.importorskip("sklearn")
    banks = filter_banks.independent_components(setting, Outcome())
    filters, bases = (banks[f"ICA {name}"][0].reshape(16, -1) for name in ("filters", "bases"))
    np.testing.assert_allclose(filters @ bases.T, np.eye(16), atol=1e-8)
    patches = filter_banks.random_patches(filter_banks.gray(setting), 4000)
    patches -= patches.mean(1, keepdims=True)
    covariance = np.cov((patches @ filters.T).T, bias=True)
    np.testing.assert_allclose(covariance, np.eye(16), atol=1e-6)


def test_without_scikit_learn_the_other_banks_are_measured(setting, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    sources = (filter_banks.independent_components, filter_banks.fixed)
    monkeypatch.setattr(wavelike, "SOURCES", sources)
    outcome = wavelike.run(setting)
    assert outcome.missing == [
        "independent components need scikit-learn, which is not installed; "
        "pip install 'repsim-energy[lecture]'"
    ]
    assert any(quantity.name.startswith("gabor") for quantity in outcome.quantities)


def test_components_that_do_not_converge_are_a_failure(setting, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(filter_banks, "MAX_ITERATIONS", 1)
    outcome = Outcome()
    assert filter_banks.independent_components(setting, outcome) == {}
    assert "no convergence after 1 iterations" in outcome.failures[0]


def test_zero_filters_are_left_out_of_the_share_and_counted(monkeypatch, setting):
    bank = filter_banks.frame_bank("gabor", 1, (PATCH, PATCH)).numpy()
    bank[3] = 0
    monkeypatch.setattr(wavelike, "SOURCES", (lambda setting, outcome: {"mine": [bank, bank]},))
    outcome = wavelike.run(setting)
    (quantity,) = (q for q in outcome.quantities if q.name.startswith("mine"))
    assert "of 48 filters" in quantity.note
    assert "2 zero filters left out" in quantity.note
    assert len(quantity.values) == 2
    assert outcome.results[""].sizes == {"bank": 1, "filter": 48}


def test_the_command_writes_rows_figure_and_result(repsim, tmp_path):
    for package in ("sklearn", "pywt", "curvelets"):
        pytest.importorskip(package)
    done = repsim("experiment", "wavelike", "--scale", "smoke", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "wavelike.svg").stat().st_size > 1000
    result = rs.open_result(tmp_path / "wavelike.nc")
    share = result.share.to_series()
    assert share["gabor"] > 0.9
    assert share[["dct", "fourier"]].max() == 0
    assert share[["white noise", "1/f noise", "two_layer_cnn, mnist, init"]].max() < 0.01
    assert share["pca"] < 0.05 < 0.3 < share["haar"] < 0.7
    assert (result.low <= result.share + 1e-12).all()
    assert (result.share <= result.high + 1e-12).all()
    page = (tmp_path / "reproduction.md").read_text("utf-8")
    assert "3x3 filters of other people's networks: median coherence" in page


SHARES = {
    # network with filters of at least 5x5 pixels: number of filters, wave-like ones
    "lenet5_mnist": (6, 0),
    "dlib_mmod_face_detector": (16, 0),
    "dlib_face_recognition_resnet": (32, 5),
    "faceapi_face_recognition": (32, 5),
    "faceboxes": (24, 0),
    "open_nsfw_resnet50_1by2": (64, 22),
    "opencv_res10_ssd_face": (32, 7),
    "openface_nn4_small2": (64, 10),
    "squeezenet_1_0_deep_compression": (96, 39),
    "srcnn_keras": (128, 9),
    "stlpips_alex": (64, 0),
}


@pytest.mark.slow
def test_networks_of_strangers_have_the_shares_of_the_page():
    folder = Path(os.environ.get("REPSIM_TEST_IMAGES", "/nowhere")) / "networks/first-layers"
    if not folder.is_dir():
        pytest.skip("REPSIM_TEST_IMAGES names no folder with networks/")
    weights = {
        path.stem: load_file(path)["conv1.weight"] for path in folder.glob("*/*.safetensors")
    }
    large = {name: weight for name, weight in weights.items() if min(weight.shape[-2:]) >= 5}
    assert len(weights) == 94
    found = {name: rs.wavelike(weight)["wavelike"] for name, weight in large.items()}
    assert {name: (len(one), one.sum()) for name, one in found.items()} == SHARES
