"""Dead leaves: the statistics of photographs, from a seed, with labels that are shapes."""

import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import LEAVES

from repsim_energy.data import embedded
from repsim_energy.data.deadleaves import SHAPES, render, render_canvas
from repsim_energy.data.embedded import deadleaves
from repsim_energy.errors import UsageError
from repsim_energy.numerics.patches import patch_moments

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
    """Fewer images are the first of many."""
    for split, (images, labels) in sets.items():
        again = deadleaves(split, count=FEW)
        assert torch.equal(again.images, torch.from_numpy(images[:FEW]))
        assert torch.equal(again.labels, torch.from_numpy(labels[:FEW]))
    canvas = render_canvas("disc", np.random.default_rng([0, 0, 0, 0]))
    assert canvas.shape == (512, 512, 3)
    assert hashlib.sha256(canvas.tobytes()).hexdigest() == (
        "f72498cace1fdc7d1908f643d41fd365a6319c27af7697fd6f4450edfef5537b"
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
    """A linear read-out of an image's log patch energies: 10% is chance, shapes are seen by eye."""
    basis = patch_moments(torch.from_numpy(sets["train"][0]), (3, 3)).basis()
    features = {}
    for split, (images, labels) in sets.items():
        patches = torch.nn.functional.unfold(torch.from_numpy(images).double() / 255, 3)
        centred = patches - basis.mean[:, None]
        energy = (basis.components @ centred).square().mean(2).log().numpy()
        features[split] = np.hstack([energy, np.ones((len(energy), 1))]), labels
    x, y = features["train"]
    weights = np.linalg.lstsq(x, np.eye(10)[y], rcond=None)[0]
    x, y = features["test"]
    accuracy = (np.argmax(x @ weights, axis=1) == y).mean()
    assert accuracy <= 0.25


def test_rendered_images_are_cached_and_rendered_anew_when_damaged(fresh_cache, sets, monkeypatch):
    rendered = []

    def render_once(split, count, seed):
        rendered.append((split, count, seed))
        images, labels = sets[split]
        return images[seed : seed + count], labels[seed : seed + count]

    monkeypatch.setattr(embedded.leaves, "render", render_once)
    first = deadleaves("train", count=40)
    assert torch.equal(first.images, torch.from_numpy(sets["train"][0][:40]))
    assert first.labels.tolist() == sets["train"][1][:40].tolist()
    path = next((fresh_cache / "data").glob("*.npz"))
    stamp = path.stat().st_mtime_ns
    assert deadleaves("train", count=40).fingerprint == first.fingerprint
    assert path.stat().st_mtime_ns == stamp
    assert len(rendered) == 1
    path.write_bytes(path.read_bytes()[:-100])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert deadleaves("train", count=40).fingerprint == first.fingerprint
    assert deadleaves("train", count=40, seed=1).fingerprint != first.fingerprint
    assert deadleaves("test", count=40).fingerprint != first.fingerprint
    assert rendered == [("train", 40, 0)] * 2 + [("train", 40, 1), ("test", 40, 0)]


def test_bad_arguments_are_refused():
    for call in (
        lambda: render("val", 10), lambda: render("train", 0), lambda: render("train", 10, -1),
        lambda: render_canvas("hexagon", np.random.default_rng(0)),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="known|expected"):
            call()
