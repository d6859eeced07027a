"""The average of the weights is its definition, and the network in training does not see it."""

import copy

import pytest
import torch
from samples import RECIPE, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.interfaces import ModelSpec
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.training.average import Average, tensors_of
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import evaluate, train
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.training import Training

CPU = torch.device("cpu")
DECAY = 0.8


def network(seed=0):
    torch.manual_seed(seed)
    return small_cnn(3, 3, norm=True)


def trained(data, recipe, seed=1):
    module = network()
    norm = following_norm(module, "0", (3, 12, 12))
    options = (data.train, data.test, normalization_of(data.train), recipe, seed, CPU)
    return module, train(module, "0", *options, norm=norm)


def weighted_mean(states, decay):
    """The definition, in float64."""
    weights = [decay ** (len(states) - s) for s in range(1, len(states) + 1)]
    return {
        name: sum(w * state[name].double() for w, state in zip(weights, states, strict=True))
        / sum(weights)
        for name in states[0]
    }


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_network_that_is_stored_is_the_weighted_mean_of_its_steps(steps, data):
    recipe = Recipe(lr=0.05, momentum=0.9, batch=20, steps=steps, schedule="constant")
    states = [
        copy.deepcopy(trained(data, Recipe(**{**recipe.as_options(), "steps": step}))[0])
        for step in range(1, steps + 1)
    ]
    expected = weighted_mean([one.state_dict() for one in states], DECAY)
    found, _ = trained(data, Recipe(**{**recipe.as_options(), "ema": DECAY}))
    for name, tensor in found.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-7)
        else:
            assert tensor == steps, name  # the batches that batch norm has counted


def test_what_is_measured_is_of_the_average_and_the_losses_of_the_network(data):
    recipe = Recipe(lr=0.05, momentum=0.9, batch=20, steps=8, snapshots=4, evaluations=2)
    averaging = Recipe(**{**recipe.as_options(), "ema": DECAY})
    _, plain = trained(data, recipe)
    _, history = trained(data, averaging)
    assert torch.equal(history.loss, plain.loss)
    assert torch.equal(history.accuracy, plain.accuracy)
    assert torch.equal(history.snapshots[0], plain.snapshots[0])
    for place, step in enumerate(history.snapshot_steps.tolist()):
        if step == 0:
            continue
        ended, _ = trained(data, Recipe(**{**averaging.as_options(), "steps": step}))
        first = find_first_conv(ended).module.weight.detach()
        assert torch.equal(history.snapshots[place], first)
        scale = following_norm(ended, "0", (3, 12, 12)).scale_or_nan()
        assert torch.equal(history.snapshot_scales[place], scale)
        if step in history.evaluation_steps.tolist():
            at = history.evaluation_steps.tolist().index(step)
            found = evaluate(ended, data.test, normalization_of(data.train), CPU, averaging)
            assert history.evaluations[at].tolist() == pytest.approx(found)


def test_the_network_has_its_own_weights_again_after_it_was_measured():
    module = network()
    average = Average(lambda: tensors_of(module), 0.5)
    average.add()
    with torch.no_grad():
        module[0].weight.add_(1)
    average.add()
    own = copy.deepcopy(module.state_dict())

    def fails():
        with average.in_place():
            assert not torch.equal(module[0].weight, own["0.weight"])
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    torch.testing.assert_close(module.state_dict(), own, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_small_steps_do_not_vanish_in_the_average_of_coarse_weights(dtype):
    module = nn.Linear(1, 1, bias=False, dtype=dtype)
    average = Average(lambda: tensors_of(module), 0.999)
    for step in range(1, 1001):
        nn.init.constant_(module.weight, 1.0 if step <= 500 else 1.0078125)
        average.add()
    (mean,) = average.tensors().values()
    share = (1 - 0.999**500) / (1 - 0.999**1000)
    assert float(mean) == pytest.approx(1 + 0.0078125 * share, rel=2e-6)


def test_a_frozen_layer_stays_bit_for_bit(data):
    def frozen(num_classes, in_channels):
        net = small_cnn(num_classes, in_channels, norm=True)
        net[0].requires_grad_(False)
        return net

    recipe = Recipe(**{**RECIPE.as_options(), "ema": 0.9})
    run = Training(ModelSpec("frozen", frozen, None), data, 0, recipe).run(CPU)
    assert torch.equal(run.initial, run.trained)


def test_without_decay_nothing_is_copied():
    module = network()
    average = Average(lambda: tensors_of(module), 0.0)
    average.add()
    assert average.tensors() == {}


def test_the_result_names_the_recipe(pictures, fresh_cache):
    recipe = rs.Recipe(batch=20, steps=2, ema=0.9, crop=1, flip=True, label_smoothing=0.1)
    result = rs.compare(["linear_cnn:filters=4"], pictures, seeds=1, recipe=recipe)
    run = rs.open_run(str(result.run_id.values.flat[0]))
    assert run.recipe == recipe
    for name in ("ema", "crop", "flip", "label_smoothing"):
        assert f'"{name}": ' in result.attrs["configuration"]
