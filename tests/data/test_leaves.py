"""Dead leaves: statistics of photographs, reproducible from a seed, labeled by shapes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import LEAVES
from scipy import ndimage

import repsim_energy as rs
from repsim_energy.data import deadleaves as data_set
from repsim_energy.data import leaf_renderer as module
from repsim_energy.data.deadleaves import deadleaves
from repsim_energy.data.leaf_renderer import SHAPES, render, render_canvas
from repsim_energy.data.leaf_shapes import FIGURES
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.numerics.patches.moments import patch_moments

FEW = int(LEAVES.rpartition("=")[2])
CIFAR = json.loads((Path(__file__).parent / "cifar10_spectrum.json").read_text())


@pytest.fixture(scope="module")
def sets():
    return {"train": render("train", 2000, 0), "test": render("test", 1000, 0)}


def spectrum(images, k):
    basis = patch_moments(torch.from_numpy(images), (k, k)).basis()
    direct_current = abs(float(basis.components[0].sum())) / np.sqrt(3 * k * k)
    eigenvalues = basis.eigenvalues.numpy()
    return eigenvalues / eigenvalues.sum(), direct_current


@pytest.mark.parametrize(("k", "bar"), [(3, 0.10), (7, 0.15)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_patches_have_the_spectrum_of_cifar10(sets, split, k, bar):
    found, direct_current = spectrum(sets[split][0][: 2000 if k == 3 else 500], k)
    distance = np.abs(np.log10(found / np.array(CIFAR[f"{k}x{k}x3"]))).mean()
    assert distance <= bar
    assert direct_current >= 0.99


def test_another_seed_has_the_same_spectrum_and_other_images(sets):
    images, _ = render("train", 1000, 7)
    found, _ = spectrum(images, 3)
    assert np.abs(np.log10(found / np.array(CIFAR["3x3x3"]))).mean() <= 0.10
    assert not (images == sets["train"][0][:1000]).all((1, 2, 3)).any()


def test_equal_arguments_give_equal_bytes_and_numpy_has_not_changed_its_streams(sets):
    """Fewer images are the first ones of a larger set."""
    for split, (images, labels) in sets.items():
        again = deadleaves(split, count=FEW)
        assert torch.equal(again.images, torch.from_numpy(images[:FEW]))
        assert torch.equal(again.labels, torch.from_numpy(labels[:FEW]))
    canvas = render_canvas(SHAPES[:9], np.random.default_rng(0))
    assert canvas.shape == (96, 96, 3)
    assert hashlib.sha256(canvas.tobytes()).hexdigest() == (
        "28aa225cd58ad765ea33c3f901b50b93bd1570ed548cf240a2fc175c2dcd6c52"
    )


def test_every_first_part_is_balanced(sets):
    _, labels = sets["train"]
    for count in (10, 333, 2000):
        counts = np.bincount(labels[:count], minlength=len(SHAPES))
        assert counts.max() - counts.min() <= 1


def test_train_and_test_share_no_image(sets):
    train, test = ({image.tobytes() for image in images} for images, _ in sets.values())
    assert not train & test


def test_the_label_is_no_second_order_statistic(sets):
    """A linear classifier of log patch energies is hardly better than chance, 10%."""
    assert read_out(sets) <= 0.20


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_all_images_have_the_spectrum_and_hide_their_labels(seed):
    full = {"train": render("train", 5000, seed), "test": render("test", 1000, seed)}
    assert read_out(full) <= 0.20
    for images, _ in full.values():
        found, _ = spectrum(images, 3)
        assert np.abs(np.log10(found / np.array(CIFAR["3x3x3"]))).mean() <= 0.10


@pytest.mark.slow
def test_a_small_network_learns_the_shapes():
    result = rs.compare(["vgg11:width=0.25"], recipe="quick:epochs=10", seeds=1)
    assert result.test_accuracy.item() >= 0.6


def read_out(sets):
    """Return the test accuracy of a linear classifier of log patch energies."""
    basis = patch_moments(torch.from_numpy(sets["train"][0]), (3, 3)).basis()
    features = {}
    for split, (images, labels) in sets.items():
        patches = torch.nn.functional.unfold(torch.from_numpy(images).double() / 255, 3)
        centered = patches - basis.mean[:, None]
        energy = (basis.components @ centered).square().mean(2).log().numpy()
        features[split] = np.hstack([energy, np.ones((len(energy), 1))]), labels
    x, y = features["train"]
    weights = np.linalg.lstsq(x, np.eye(10)[y], rcond=None)[0]
    x, y = features["test"]
    return (np.argmax(x @ weights, axis=1) == y).mean()


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_agree_in_area_and_in_length_of_outline(name):
    """Crofton's formula: length is pi / 2 times the mean number of crossings with lines."""
    figure, step = FIGURES[name], 1 / 128
    line = np.arange(-2 + step / 2, 2, step)
    crossings, turns = 0, 12
    for angle in np.pi * (np.arange(turns) + 0.3) / turns:
        u, v = np.meshgrid(line, line)
        x, y = np.cos(angle) * u - np.sin(angle) * v, np.sin(angle) * u + np.cos(angle) * v
        inside = figure.inside(x.astype(np.float32), y.astype(np.float32))
        assert inside.sum() * step**2 == pytest.approx(np.pi, rel=2e-3)
        assert np.hypot(x, y)[inside].max() == pytest.approx(figure.reach, abs=0.02)
        crossings += (inside[1:] != inside[:-1]).sum() + (inside[:, 1:] != inside[:, :-1]).sum()
    length = np.pi / 2 * crossings * step / (2 * turns)
    assert length == pytest.approx(2 * np.pi * np.sqrt(2), rel=5e-3)


def test_the_leaf_in_front_is_whole_and_of_the_label_s_shape(monkeypatch):
    """White on black without texture and blur, its area follows from its radius."""
    for name, value in {
        "COLOR_SD": (0.0, 0.0, 0.0),
        "FRONT_SD": 0.0,
        "FRONT_LIGHT": 1.0,
        "GRAY": 0.0,
        "BLUR_SD": (0.0, 0.0, 0.0),
        "FRONT_RADIUS": (9.0, 9.0),
    }.items():
        monkeypatch.setattr(module, name, value)
    images, labels = module.render("train", 200)
    shares = images[:, 0] / 255
    np.testing.assert_allclose(shares.sum((1, 2)), np.pi * 81, rtol=0.02)
    for share, label in zip(shares, labels, strict=True):
        holes, parts = ndimage.label(share == 0)[1] - 1, ndimage.label(share > 0.5)[1]
        assert holes == (SHAPES[label] in ("ring", "eyelet"))
        assert parts == 1 + (SHAPES[label] == "pair")


def test_rendered_images_are_cached_and_rendered_anew_when_damaged(fresh_cache, sets, monkeypatch):
    rendered = []

    def render_once(split, count, seed):
        rendered.append((split, count, seed))
        images, labels = sets[split]
        return images[seed : seed + count], labels[seed : seed + count]

    monkeypatch.setattr(data_set.leaves, "render", render_once)
    first = deadleaves("train", count=40)
    assert torch.equal(first.images, torch.from_numpy(sets["train"][0][:40]))
    assert first.labels.tolist() == sets["train"][1][:40].tolist()
    path = next((fresh_cache / "data").glob("*.npz"))
    stamp = path.stat().st_mtime_ns
    assert deadleaves("train", count=40).fingerprint == first.fingerprint
    assert path.stat().st_mtime_ns == stamp
    assert len(rendered) == 1
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(RepsimWarning, match="cannot be read.*rendered again"):
        assert deadleaves("train", count=40).fingerprint == first.fingerprint
    assert deadleaves("train", count=40, seed=1).fingerprint != first.fingerprint
    assert deadleaves("test", count=40).fingerprint != first.fingerprint
    assert rendered == [("train", 40, 0)] * 2 + [("train", 40, 1), ("test", 40, 0)]


def test_bad_arguments_are_refused():
    for call in (
        lambda: render("val", 10),
        lambda: render("train", 0),
        lambda: render("train", 10, -1),
        lambda: render_canvas(["hexagon"], np.random.default_rng(0)),
    ):
        with pytest.raises(UsageError, match="known|expected"):
            call()
