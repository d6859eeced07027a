"""Networks trained as one batched network are those trained alone."""

import copy
from contextlib import suppress

import pytest
import torch
from samples import noise_images

from repsim_energy.errors import TrainingError, UsageError
from repsim_energy.interfaces import Dataset
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.ensemble import train_together
from repsim_energy.training.history import History
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import train
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.together import run_together
from repsim_energy.training.training import Training

CPU = torch.device("cpu")
SEEDS = [4, 0, 7]


@pytest.fixture
def images():
    return noise_images(90, (3, 16, 16), classes=3)


def networks(name):
    build = resolve_model(load_registry(plugins=False), name).build
    found = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        found.append(build(3, 3))
    return found


def both_ways(modules, images, recipe):
    alone = copy.deepcopy(modules)
    layer = find_first_conv(modules[0]).name
    setting = (images, images, normalization_of(images), recipe)
    norms = [_norm_behind(module, layer) for module in modules]
    together = train_together(modules, layer, *setting, SEEDS, CPU, norms)
    for module, other, seed, history in zip(modules, alone, SEEDS, together, strict=True):
        norm = _norm_behind(other, layer)
        expected = train(other, find_first_conv(other).name, *setting, seed, CPU, norm=norm)
        yield module, other, history, expected


def _norm_behind(module, layer):
    with suppress(UsageError):
        return following_norm(module, layer, (3, 16, 16))


@pytest.mark.parametrize(
    ("name", "optimizer", "steps", "schedule"),
    [
        ("vgg11:width=0.125:frozen=true", "sgd", 2, "constant"),  # rounding grows tenfold a step
        ("lenet5", "sgd", 5, "one_cycle"),
        ("lenet5:style=modern", "sgd", 5, "one_cycle"),
        ("two_layer_cnn:width=0.2", "sgd", 5, "one_cycle"),
        ("linear_cnn:filters=8", "adam", 7, "constant"),
    ],
)
def test_each_network_is_the_one_trained_alone(name, optimizer, steps, schedule, images):
    recipe = Recipe(
        **{"sgd": {"lr": 0.02, "momentum": 0.9}, "adam": {"lr": 1e-3}}[optimizer],
        weight_decay=1e-3,
        batch=32,
        optimizer=optimizer,
        steps=steps,
        snapshots=2,
        evaluations=1,
        schedule=schedule,
    )
    for module, other, history, expected in both_ways(networks(name), images, recipe):
        kept = ("snapshots", "snapshot_steps", "snapshot_scales")
        for field in ("loss", "accuracy", "evaluations", *kept):
            found = getattr(history, field)
            torch.testing.assert_close(found, getattr(expected, field), rtol=1e-4, atol=1e-4)
        assert history.steps == expected.steps == steps
        if "vgg" in name:
            assert len(history.snapshot_scales) == len(history.snapshots)
        else:
            assert history.snapshot_scales is None
        assert history.train_accuracy == pytest.approx(expected.train_accuracy)
        torch.testing.assert_close(
            dict(module.state_dict()), dict(other.state_dict()), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["vgg11:width=0.125:frozen=true", "lenet5:style=modern"])
def test_each_network_is_the_one_trained_alone_as_people_train(name, images):
    """Its own crops, its own average, and weight decay of the same weights."""
    recipe = Recipe(
        lr=0.02,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.1,
        decay_norms=False,
        batch=32,
        steps=2 if "vgg" in name else 5,  # rounding grows tenfold a step
        snapshots=3,
        evaluations=1,
        schedule="cosine",
        warmup=0.2,
        label_smoothing=0.1,
        crop=2,
        flip=True,
        ema=0.7,
    )
    for module, other, history, expected in both_ways(networks(name), images, recipe):
        for field in ("loss", "accuracy", "evaluations", "snapshots", "snapshot_scales"):
            found = getattr(history, field)
            torch.testing.assert_close(found, getattr(expected, field), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            dict(module.state_dict()), dict(other.state_dict()), rtol=1e-4, atol=1e-4
        )


def test_each_network_ends_when_it_has_reached_its_accuracy(images):
    recipe = Recipe(lr=0.05, momentum=0.9, batch=30, epochs=8, until_accuracy=0.45)
    found = list(both_ways(networks("lenet5:style=modern"), images, recipe))
    for *_, history, expected in found:
        assert history.steps == expected.steps
        assert torch.equal(history.accuracy, expected.accuracy)
    assert len({history.steps for *_, history, _ in found}) > 1


def test_a_network_that_diverges_leaves_the_others(images):
    modules = networks("linear_cnn:filters=8")
    with torch.no_grad():
        find_first_conv(modules[1]).module.weight.mul_(1e30)
    recipe = Recipe(lr=0.01, batch=30, steps=9, loss="mse")
    layer = find_first_conv(modules[0]).name
    setting = (images, images, normalization_of(images), recipe, SEEDS, CPU)
    first, failed, last = train_together(modules, layer, *setting)
    assert isinstance(failed, TrainingError)
    assert "lower it" in str(failed)
    assert isinstance(first, History)
    assert isinstance(last, History)
    assert torch.isfinite(first.loss).all()
    assert torch.isfinite(last.loss).all()


def test_runs_made_together_are_kept_each_as_its_own(images, tmp_path, monkeypatch):
    spec = resolve_model(load_registry(plugins=False), "linear_cnn:filters=8")
    data = Dataset("noise", images, images)
    recipe = Recipe(lr=0.01, batch=30, steps=6, snapshots=2)
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "alone"))
    alone = [Training(spec, data, seed, recipe).run(CPU) for seed in SEEDS]
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "together"))
    Training(spec, data, SEEDS[1], recipe).run(CPU)
    outcomes = run_together([Training(spec, data, seed, recipe) for seed in SEEDS], CPU)
    for seed, outcome, expected in zip(SEEDS, outcomes, alone, strict=True):
        assert outcome.key == expected.key
        assert Training(spec, data, seed, recipe).is_cached
        found = Training(spec, data, seed, recipe).run(CPU)
        assert found.run_id == expected.run_id
        for name, value in expected.tensors().items():
            torch.testing.assert_close(found.tensors()[name], value, rtol=1e-4, atol=1e-6)
        assert found.test_accuracy == pytest.approx(expected.test_accuracy, abs=0.02)


def test_the_global_generator_is_left_alone(images):
    modules = networks("lenet5")
    state = torch.get_rng_state()
    list(both_ways(modules, images, Recipe(batch=30, steps=2)))
    assert torch.equal(torch.get_rng_state(), state)
