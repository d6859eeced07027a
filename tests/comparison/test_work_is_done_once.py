"""A comparison builds each network and reads all pixels as often as it has to, and no oftener."""

import pickle
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from samples import RECIPE, Heard, both_splits, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.files.seals import sealed_json, unsealed_json
from repsim_energy.interfaces import ModelSpec
from repsim_energy.scheduling import estimate
from repsim_energy.scheduling.sending import pickled
from repsim_energy.training import inputs
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.training import Training

CPU = torch.device("cpu")


@pytest.fixture
def summed(monkeypatch):
    """How many images of each set were summed for its normalization."""
    images = Counter()
    before = inputs._sums

    def count(part):
        images[part.untyped_storage().data_ptr()] += len(part)
        return before(part)

    monkeypatch.setattr(inputs, "_sums", count)
    return images


@pytest.fixture
def announced(monkeypatch):
    """Estimates are measured and announced, however short a sweep is."""
    monkeypatch.setattr(estimate, "MIN_ANNOUNCED_SECONDS", 0.0)
    monkeypatch.setattr(estimate, "MIN_STEPS_PER_MODEL", 0)
    return Heard()


def sets():
    return [both_splits(noise_images(30, (3, 8, 8), seed=n, name=f"set {n}")) for n in range(2)]


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
@pytest.mark.parametrize("metric", ["energy", "cka"])
def test_a_network_is_built_once_to_plan_and_once_to_train(metric, summed, announced):
    built = Counter()

    def network(num_classes, in_channels):
        built["trained here"] += 1
        return small_cnn(num_classes, in_channels)

    given = small_cnn(2, 3)
    data = sets()
    options = {"layers": "first,output", "images": 20} if metric == "cka" else {}
    rs.compare(
        [network, given], data, metric, seeds=3, recipe=RECIPE, reporter=announced, **options
    )
    assert len(announced.lines) == 1
    assert built["trained here"] == 2 * (1 + 3)
    assert list(summed.values()) == [30, 30]
    rs.compare([network, given], data, metric, seeds=3, recipe=RECIPE, **options)
    assert list(summed.values()) == [30, 30]


def test_networks_beyond_the_room_for_them_are_built_again(monkeypatch, announced):
    monkeypatch.setattr("repsim_energy.comparison.examined.MAX_KEPT_BYTES", 0)
    built = []

    def network(num_classes, in_channels):
        built.append(num_classes)
        return small_cnn(num_classes, in_channels)

    kept = {"layers": "output", "images": 20, "seeds": 2, "recipe": RECIPE, "reporter": announced}
    rs.compare(network, sets()[0], "cka", **kept)
    assert len(built) == 3 + 2  # to plan, to try its layers, to time it; to train


def test_a_training_in_another_process_needs_no_pass_over_the_pixels(summed, fresh_cache):
    whole = sets()[0].train
    part = rs.ImageSet(whole.images[:20], whole.labels[:20], whole.classes, "a part")
    for data in (both_splits(whole), both_splits(part)):
        expected, key = normalization_of(data.train), data.train.fingerprint
        content = pickled(data)
        assert len(content) < data.train.images.nbytes + 4000
        summed.clear()
        read = pickle.loads(content)
        assert torch.equal(read.train.images, data.train.images)
        assert vars(read.train)["fingerprint"] == key
        run = Training(ModelSpec("small", small_cnn, None), read, 0, RECIPE).run(CPU)
        assert run.normalization == expected
        assert not summed


def test_images_that_are_changed_into_others_are_normalized_anew():
    images = noise_images(30, (3, 8, 8))
    darker = rs.ImageSet(images.images // 2, images.labels, images.classes, "darker")
    assert normalization_of(images).std[0] > 1.9 * normalization_of(darker).std[0]


def cached_model(built, network=small_cnn):
    """A model whose runs are cached, and which counts how often it is built."""

    def build(num_classes, in_channels):
        built["model"] += 1
        return network(num_classes, in_channels)

    return ModelSpec("small", build, {"name": "counted"})


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_a_network_whose_runs_are_cached_is_not_built(summed, fresh_cache):
    built = Counter()
    model, options = cached_model(built), {"seeds": 2, "recipe": RECIPE}
    first = rs.compare(model, sets()[0], **options)
    built.clear()
    summed.clear()
    again = rs.compare(model, sets()[0], **options)
    assert not built
    assert not summed
    for name in first.variables:
        np.testing.assert_array_equal(first[name].values, again[name].values)
    rs.compare(model, sets()[0], seeds=3, recipe=RECIPE)  # one is missing
    assert built["model"] >= 2


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
@pytest.mark.parametrize("missing", [["patch", "several"], []])
def test_a_network_is_built_if_its_runs_do_not_say_what_its_filters_see(missing, fresh_cache):
    """Runs of earlier versions do not, and damaged ones are trained again."""
    built = Counter()
    model, options = cached_model(built), {"seeds": 1, "recipe": RECIPE}
    first = rs.compare(model, sets()[0], **options)
    (manifest,) = fresh_cache.glob("runs/*/run.json")
    facts = unsealed_json(manifest.read_bytes(), manifest, "")
    assert facts["patch"] == [3, 3, 3, 1, 1]
    shorter = sealed_json({name: facts[name] for name in facts if name not in missing})
    manifest.write_bytes(shorter if missing else b"damaged")
    built.clear()
    again = rs.compare(model, sets()[0], **options)
    assert built["model"] == (1 if missing else 2)  # to plan, and to train
    np.testing.assert_array_equal(first.energy.values, again.energy.values)


def test_what_is_said_of_a_network_does_not_depend_on_the_cache(fresh_cache):
    class TwoStems(torch.nn.Module):
        def __init__(self, classes, channels):
            super().__init__()
            self.a, self.b = (torch.nn.Conv2d(channels, 4, 3, dilation=2) for _ in range(2))
            self.head = torch.nn.Linear(4, classes)

        def forward(self, x):
            return self.head((self.a(x) + self.b(x)).relu().mean((2, 3)))

    built = Counter()
    said = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            result = rs.compare(
                cached_model(built, TwoStems), sets()[0], seeds=2, recipe=RECIPE, stage="trained"
            )
        said.append([(str(one.message), one.filename) for one in seen])
        assert result.energy.sizes["component"] == 27
    assert said[0] == said[1]
    assert any("several layers of 'small' get the image" in text for text, _ in said[0])
    assert all(file == __file__ for _, file in said[0])
