"""Whole comparisons, through the names that users type."""

import numpy as np
import pytest
import repsim_energy as rs
import timm
import torch
from safetensors.torch import save_file
from torch import nn


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.rand(64, 3, 12, 12, generator=generator), size=(32, 32), mode="bilinear"
    )
    labels = torch.arange(64) % 4
    return rs.ImageSet((255 * smooth).byte(), labels, ("a", "b", "c", "d"), "generated")


def test_two_new_networks_are_trained_and_compared(images):
    models = ["timm/test_resnet", "timm/test_efficientnet"]
    recipe = rs.Recipe(steps=4, batch=16)
    result = rs.compare(models, images, metric="energy", seeds=1, recipe=recipe)
    assert result.energy.sizes["component"] == 27
    assert result.energy.sizes["model"] == 2
    similarity = result.similarity.squeeze().to_numpy()
    assert similarity.shape == (2, 2)
    np.testing.assert_allclose(similarity[0, 1], similarity[1, 0])
    assert abs(similarity[0, 1]) < 1
    assert (result.steps == 4).all()


def test_pretrained_networks_are_compared_as_they_are(images, tmp_path):
    paths = {}
    for name in ("test_resnet", "test_efficientnet"):
        torch.manual_seed(1)
        net = timm.create_model(name)
        paths[name] = tmp_path / f"{name}.safetensors", net
        save_file(net.state_dict(), paths[name][0])
    models = [f"timm/{name}:weights={path}" for name, (path, _) in paths.items()]
    result = rs.compare(models, images, metric="energy", stage="trained")
    moments = rs.patch_moments(images.images, (3, 3))
    for m, (_, net) in enumerate(paths.values()):
        filters = rs.read_filters(rs.find_first_conv(net).module)
        expected = rs.energy_profile(filters, moments.basis())
        found = result.energy.isel(model=m, seed=0).sel(stage="trained").squeeze()
        np.testing.assert_allclose(found, expected, rtol=1e-6)


class Normalizing(nn.Module):
    """A network that normalizes its input itself."""

    def __init__(self, net, mean, std):
        super().__init__()
        self.net = net
        self.mean, self.std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))

    def forward(self, images):
        return self.net((images - self.mean) / self.std)


def test_a_pretrained_network_is_shown_what_it_was_trained_on(images, tmp_path):
    """It answers as one that normalizes 0..1 itself, and not as one that is shown 0..1."""
    torch.manual_seed(1)
    net = timm.create_model("test_resnet").eval()
    path = tmp_path / "w.safetensors"
    save_file(net.state_dict(), path)
    config = timm.get_pretrained_cfg("test_resnet")
    as_is = rs.Normalization((0.0,) * 3, (1.0,) * 3)
    models = {
        "named": f"timm/test_resnet:weights={path}",
        "by hand": lambda *_: rs.TrainedModel(
            Normalizing(net, config.mean, config.std), normalization=as_is
        ),
        "unnormalized": lambda *_: rs.TrainedModel(net, normalization=as_is),
    }
    result = rs.compare(models, images, metric="cka", layers=["output"], seeds=1, images=64)
    similarity = result.similarity.squeeze().to_numpy()
    assert similarity[0, 1] == pytest.approx(1, abs=1e-6)
    assert similarity[0, 2] < 1 - 1e-3


def test_a_network_trained_with_timm_is_a_checkpoint(images, tmp_path):
    torch.manual_seed(2)
    net = timm.create_model("test_resnet", num_classes=4)
    path = tmp_path / "mine.safetensors"
    save_file(net.state_dict(), path)
    models = [f"checkpoint:path={path}:arch=timm/test_resnet"]
    result = rs.compare(models, images, metric="energy", stage="trained")
    assert result.energy.sizes["component"] == 27
