"""Training of exactly one layer: everything else stays as it was, bit for bit."""

import pickle

import numpy as np
import pytest
import torch
from samples import both_splits, noise_images

import repsim_energy as rs
from repsim_energy.comparison import make_plan, train_networks
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.experiments.lecture.one_layer import depth_correlation
from repsim_energy.experiments.lecture.single_layers import layer_names, train_only
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.build import build

REGISTRY = load_registry(plugins=False)
DATA = both_splits(noise_images(24, (3, 16, 16)))
RECIPES = {
    "sgd": rs.Recipe(lr=0.05, momentum=0.9, weight_decay=0.1, batch=8, steps=3),
    "adam": rs.Recipe(optimizer="adam", lr=0.01, weight_decay=0.1, batch=8, steps=3),
}
SPECS = {"vgg11:width=0.05": 9, "resnet20:width=0.2": 22, "mlp:depth=2:units=5": 3}


def trained(spec, recipe, seed=0):
    networks, failures = train_networks(make_plan(REGISTRY, [spec], [DATA], [seed], recipe, "cpu"))
    assert not failures
    return next(iter(networks.values())).module()


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("name", SPECS)
def test_only_the_parameters_of_one_layer_change(name, recipe, fresh_cache):
    spec = resolve_model(REGISTRY, name)
    start = dict(build(spec, DATA, 0).named_parameters())
    layers = layer_names(build(spec, DATA, 0))
    for layer in (layers[0], layers[len(layers) // 2], layers[-1]):
        end = trained(train_only(spec, layer), recipe)
        changed = {n for n, p in end.named_parameters() if not torch.equal(p, start[n])}
        assert changed == {f"{layer}.{n}" for n, _ in end.get_submodule(layer).named_parameters()}


def test_layers_are_convolutions_and_linear_layers():
    for name, count in {**SPECS, "resnet20:width=0.2": None, "lenet5": 5}.items():
        network = build(resolve_model(REGISTRY, name), DATA, 0)
        kinds = (torch.nn.Conv2d, torch.nn.Linear)
        expected = [n for n, m in network.named_modules() if isinstance(m, kinds)]
        if name != "lenet5":
            assert layer_names(network) == expected
        assert count is None or len(layer_names(network)) == count


def test_batch_statistics_are_those_of_training(fresh_cache):
    """Frozen batch norms keep scale and shift, and follow the mean of their input."""
    spec = resolve_model(REGISTRY, "vgg11:width=0.05")
    end = trained(train_only(spec, "classifier"), RECIPES["sgd"])
    norm = end.features[0][1]
    assert (norm.weight == 1).all()
    assert not norm.bias.any()
    assert norm.running_mean.any()


def test_each_layer_has_a_key_of_its_own():
    spec = resolve_model(REGISTRY, "mlp:depth=2:units=5")
    specs = [spec, *(train_only(spec, n) for n in ("hidden1", "hidden2", "output"))]
    plan = make_plan(REGISTRY, specs, [DATA], 1, RECIPES["sgd"], "cpu")
    trainings = list(plan.trainings.values())
    assert len({training.key for training in trainings}) == 4
    assert all(training.is_portable for training in trainings)
    alone = make_plan(REGISTRY, ["mlp:depth=2:units=5"], [DATA], 1, RECIPES["sgd"], "cpu")
    assert trainings[0].key == next(iter(alone.trainings.values())).key
    again = pickle.loads(pickle.dumps(specs[1]))
    assert again.identity == specs[1].identity


def test_other_layers_are_refused():
    spec = resolve_model(REGISTRY, "mlp:depth=1:units=5")
    with pytest.raises(UsageError, match="did you mean 'hidden1'"):
        build(train_only(spec, "hidden2"), DATA, 0)
    with pytest.raises(UsageError, match="'flatten'.*no parameters.*hidden1, output"):
        build(train_only(spec, "flatten"), DATA, 0)
    with pytest.raises(UsageError, match="trained already"):
        build(train_only(resolve_model(REGISTRY, "frame/dct"), "0"), DATA, 0)


def test_rank_correlations_are_spearmans():
    from scipy.stats import spearmanr

    accuracy = np.random.default_rng(0).integers(0, 5, (9, 4)) / 5
    expected = [spearmanr(np.arange(9), column).statistic for column in accuracy.T]
    np.testing.assert_allclose(depth_correlation(accuracy), expected)
    assert depth_correlation(np.array([[3.0], [2], [1]])).tolist() == [-1]
    with pytest.warns(RepsimWarning, match="equal for all layers"):
        assert np.isnan(depth_correlation(np.ones((3, 1)))).all()
    assert np.isnan(depth_correlation(np.array([[1.0], [np.nan]]))).all()


@pytest.mark.slow  # also a row of reproduce, of which each test run has all
@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_the_command_writes_rows_figure_and_result(repsim, tmp_path):
    done = repsim(
        "experiment", "one-layer", "--scale", "smoke", "--seeds", "1", "-o", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one-layer.svg").stat().st_size > 1000
    for group in ("mlp_mnist", "mlp_cifar10", "vgg11_cifar10"):
        result = rs.open_result(tmp_path / "one-layer.nc", group)
        assert result.test_accuracy.dims == ("trained", "seed")
        assert result.trained.values.tolist()[-2:] == ["all", "none"]
        assert np.isfinite(result.train_accuracy).all()
        parameters = result.trained_parameters
        assert parameters.sel(trained="none") == 0
        norms = 0 if group.startswith("mlp") else 1
        left = parameters.sel(trained="all") - parameters[:-2].sum()
        assert (left > 0) == norms
