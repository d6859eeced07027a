"""Fully connected networks: their formula, initial scale, options, rules, and energy profile."""

import numpy as np
import pytest
import torch
from samples import both_splits, noise_images
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.models.architectures.mlp import mlp
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.testing import check_model
from repsim_energy.testing.models import RULES

REGISTRY = load_registry(plugins=False)
IMAGES = noise_images(40, (3, 5, 4))


@pytest.mark.parametrize("activation", ["hard_tanh", "relu"])
def test_the_network_is_its_formula(activation, rng):
    torch.manual_seed(0)
    net = mlp(4, 3, IMAGES, depth=3, units=7, activation=activation, sigma_b=0.5).double()
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    image = torch.randn(1, 3, 5, 4, generator=rng, dtype=torch.float64) * 3
    z = image.numpy().ravel()
    for layer in layers[:-1]:
        z = layer.weight.detach().numpy() @ z + layer.bias.detach().numpy()
        z = np.clip(z, -1, 1) if activation == "hard_tanh" else np.maximum(z, 0)
    z = layers[-1].weight.detach().numpy() @ z + layers[-1].bias.detach().numpy()
    np.testing.assert_allclose(net(image).detach().numpy().ravel(), z, atol=1e-12)
    assert len(layers) == 4


@pytest.mark.parametrize(
    ("options", "variance"),
    [({}, 1), ({"activation": "relu"}, 2), ({"sigma_w": 3.0}, 9)],
)
def test_weights_have_the_published_variance(options, variance):
    net = mlp(200, 3, IMAGES, depth=2, units=200, **options)
    for layer in (net.hidden1, net.hidden2, net.output):
        fan_in = layer.in_features
        assert float(layer.weight.detach().var()) * fan_in == pytest.approx(variance, rel=0.05)
        assert not layer.bias.any()
    assert net.hidden1.in_features == 60


def test_options_are_those_that_they_name():
    net = mlp(10, 3, IMAGES, depth=1, units=40, width=0.5, frozen=True)
    assert [name for name, _ in net.named_children()] == [
        "flatten",
        "hidden1",
        "hard_tanh1",
        "output",
    ]
    assert net.hidden1.out_features == 20
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == [
        "hidden1.weight",
        "hidden1.bias",
    ]
    for options in ({"depth": 0}, {"units": 0}, {"sigma_w": -1.0}, {"sigma_b": float("nan")}):
        with pytest.raises(UsageError, match=f"{next(iter(options))}=.*expected"):
            mlp(10, 3, IMAGES, **options)


def test_it_keeps_the_rules():
    found = check_model(resolve_model(REGISTRY, "mlp:width=0.1").build, name="mlp")
    assert [one.rule for one in found] == [
        "is built from the numbers of classes and channels",
        *RULES,
    ]
    assert all(one.problem is None for one in found)


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_its_filters_are_as_large_as_the_image():
    recipe = rs.Recipe(batch=20, steps=3)
    images = both_splits(noise_images(120, (1, 4, 5)))
    result = rs.compare("mlp:width=0.1", images, recipe=recipe, seeds=2, registry=REGISTRY)
    assert result.sizes["component"] == 20
    assert result.components.shape[-2:] == (4, 5)
    assert np.isfinite(result.energy.sel(stage="trained")).all()


def test_filters_of_another_model_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"'hidden1' \(Linear\) is no plain convolution"):
        resolve_model(REGISTRY, "mlp:first=frame/dct").build(2, 3, IMAGES)
