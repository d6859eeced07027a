"""Architectures with a parameter ``images`` are built from the training images."""

import numpy as np
import pytest
import torch
from samples import both_splits, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.registry import describe, load_registry, resolve_model
from repsim_energy.testing import check_model

PLUGIN = """
import torch
from repsim_energy import hookimpl
from samples import small_cnn


def mean_filter(num_classes, in_channels, images, *, scale: float = 1.0):
    '''Return a network whose filters are the mean color of the images.

    Parameters
    ----------
    scale : factor of the filters
    '''
    net = small_cnn(num_classes, in_channels)
    color = images.images.float().mean((0, 2, 3)) / 255
    with torch.no_grad():
        net[0].weight.copy_(scale * color.view(1, -1, 1, 1).expand_as(net[0].weight))
    return net


@hookimpl
def repsim_models():
    return {"mean_filter": mean_filter}
"""


@pytest.fixture
def registry(tmp_path):
    file = tmp_path / "means.py"
    file.write_text(PLUGIN)
    return load_registry(installed=False, plugins=[file])


def fitted(num_classes, in_channels, images):
    """Return filters that are cut out of the first images."""
    stem = nn.Conv2d(in_channels, 4, 5, bias=False)
    with torch.no_grad():
        stem.weight.copy_(images.images[:4, :, :5, :5].float())
    return TrainedModel(nn.Sequential(stem), network=False)


def test_a_function_receives_the_training_images_of_each_data_set():
    sets = [noise_images(40, (3, 12, 12), seed=seed, name=f"set {seed}") for seed in (1, 2)]
    with pytest.warns(RepsimWarning, match="different patch bases"):
        result = rs.compare({"fitted": fitted}, [both_splits(one) for one in sets], stage="trained")
    for index, images in enumerate(sets):
        basis = rs.patch_moments(images.images, (5, 5)).basis()
        profile = rs.energy_profile(images.images[:4, :, :5, :5].float(), basis)
        found = result.energy.sel(stage="trained").isel(dataset=index).squeeze().values
        assert found == pytest.approx(np.asarray(profile), rel=1e-4)


def test_images_are_no_option_of_a_plugin(registry):
    _, options = describe(registry, "model", "mean_filter")
    assert [option.name for option in options] == ["scale", "first", "frozen"]
    with pytest.raises(UsageError, match="images"):
        resolve_model(registry, "mean_filter:images=3")


def test_a_plugin_is_fitted_and_checked(registry):
    images = noise_images(20, (3, 12, 12))
    spec = resolve_model(registry, "mean_filter:scale=2")
    weights = spec.build(10, 3, images)[0].weight
    color = images.images.float().mean((0, 2, 3)) / 255
    torch.testing.assert_close(weights[0, :, 1, 1], 2 * color)
    assert all(finding.problem is None for finding in check_model(spec.build))


def test_a_run_is_found_again_for_the_same_images_alone(registry):
    options = {"recipe": rs.Recipe(batch=10, steps=1), "seeds": 1, "registry": registry}
    ids = [
        rs.compare(["mean_filter"], noise_images(20, (3, 12, 12), seed=s), **options).run_id.item()
        for s in (0, 0, 1)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_a_checkpoint_needs_an_architecture_that_is_not_fitted(registry, tmp_path):
    torch.save(small_cnn(2, 3).state_dict(), tmp_path / "net.pt")
    spec = f"checkpoint:path={tmp_path}/net.pt:arch=mean_filter"
    with pytest.raises(UsageError, match="fitted to images"):
        rs.compare([spec], noise_images(20, (3, 12, 12)), registry=registry)
