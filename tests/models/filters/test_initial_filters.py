"""Initial weights are converted to the filters that the layer applied before training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import Net
from torch import nn
from torch.nn.utils import parametrizations, prune

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.filters.applied_filters import applied_filters, filters_from_weights

IMAGE = (3, 12, 12)


class Standardized(nn.Conv2d):
    def forward(self, images):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(images, weight, self.bias, self.stride, self.padding)


def pruned(layer):
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


BEFORE = {
    "groups": (lambda: nn.Conv2d(3, 6, 3, groups=3), (6, 3, 3, 3)),
    "holes": (lambda: nn.Conv2d(3, 6, 3, dilation=2), (6, 3, 5, 5)),
    "standardized": (lambda: Standardized(3, 6, 3), (6, 3, 3, 3)),
    "pruned groups": (lambda: pruned(nn.Conv2d(3, 6, 3, groups=3)), (6, 3, 3, 3)),
    "weight norm and holes": (
        lambda: parametrizations.weight_norm(nn.Conv2d(3, 6, 3, dilation=2)),
        (6, 3, 5, 5),
    ),
    "plain": (lambda: nn.Conv2d(3, 6, 3), (6, 3, 3, 3)),
}
"""Name -> function that builds a layer, and the shape of the filters that it applies."""


@pytest.mark.parametrize(("layer", "shape"), BEFORE.values(), ids=BEFORE)
def test_the_filters_before_training_are_those_that_the_layer_applied_then(
    layer, shape, pictures, tmp_path
):
    def build(num_classes, in_channels):
        return nn.Sequential(
            layer(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes)
        )

    torch.manual_seed(0)
    before, after = build(3, 3), build(3, 3)
    for name, net in (("init", before), ("trained", after)):
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
    paths = {"path": tmp_path / "trained.pt", "init": tmp_path / "init.pt"}
    taken = checkpoint(3, 3, **paths, arch=build)
    expected = applied_filters(before, "0", IMAGE)
    assert tuple(expected.shape) == shape
    found = applied_filters(taken.initial, "0", IMAGE)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    result = rs.compare({"net": taken}, pictures, seeds=1)
    assert result.attrs["stage"] == "change"
    change = applied_filters(after, "0", IMAGE) - expected
    np.testing.assert_allclose(
        float((result.energy.sel(stage="change") ** 2).sum()),
        float(change.square().sum() / 6),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 6, 3)), "1"),
        (
            lambda: Net(lambda n, x: n.embed(F.unfold(x, 4, stride=4).mT), embed=nn.Linear(48, 5)),
            "embed",
        ),
        (lambda: nn.Sequential(pruned(nn.Conv2d(3, 6, 3, groups=3))), "0"),
        (lambda: nn.Sequential(nn.PixelUnshuffle(2), pruned(nn.Conv2d(12, 6, 3))), "1"),
    ],
)
def test_initial_weights_become_filters_through_the_network(build, name, pictures):
    torch.manual_seed(0)
    before, after = build(), build()
    weights = before.get_submodule(name).weight.detach().clone()
    state = {key: value.clone() for key, value in after.state_dict().items()}
    found = filters_from_weights(after, name, weights, IMAGE)
    torch.testing.assert_close(found, applied_filters(before, name, IMAGE), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, state[key]) for key, value in after.state_dict().items())
    assert "forward" not in vars(after.get_submodule(name))
    result = rs.compare({"net": rs.TrainedModel(after, name, weights)}, pictures, seeds=1)
    assert result.attrs["stage"] == "change"


def test_a_file_of_grouped_filters_needs_the_architecture(pictures, tmp_path):
    torch.save(nn.Conv2d(3, 6, 3, groups=3).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match="see 1; .*arch= where it has groups"):
        rs.compare(tmp_path / "w.pt", pictures, seeds=1)


class DecoderFirst(nn.Module):
    """Registers another convolution of the same shape before the first layer."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.decoder = nn.Conv2d(in_channels, 6, 3)
        self.encoder = nn.Conv2d(in_channels, 6, 3)
        self.head = nn.Linear(6, num_classes)

    def forward(self, images):
        return self.head(self.encoder(images.flip(1)).mean((2, 3)))


def mlp_of_patches(num_classes, in_channels):
    """A network without convolutions, whose first layer is linear in each patch."""
    places = Net(lambda n, x: n.linear(F.unfold(x, 3).mT).mean(1), linear=nn.Linear(27, 6))
    return nn.Sequential(places, nn.Linear(6, num_classes))


@pytest.mark.parametrize(
    ("build", "name"), [(DecoderFirst, "encoder"), (mlp_of_patches, "0.linear")]
)
def test_of_networks_before_training_the_first_layer_is_read(build, name, pictures, tmp_path):
    torch.manual_seed(0)
    before, after = build(3, 3), build(3, 3)
    for word, net in (("init", before), ("trained", after)):
        torch.save(net.state_dict(), tmp_path / f"{word}.pt")
    paths = {"path": tmp_path / "trained.pt", "init": tmp_path / "init.pt"}
    taken = checkpoint(3, 3, **paths, arch=build)
    given = {"file": taken, "module": rs.TrainedModel(after, initial=before)}
    given |= {"before": before, "after": after}
    result = rs.compare(given, pictures, "energy", stage="trained")
    assert set(result.first_layer.values) == {name}
    energy = result.energy.squeeze()
    for model in ("file", "module"):
        for stage, same in (("init", "before"), ("trained", "after")):
            np.testing.assert_allclose(
                energy.sel(model=model, stage=stage),
                energy.sel(model=same, stage="trained"),
                rtol=1e-5,
            )


def test_the_first_layer_alone_before_training_is_enough(tmp_path):
    torch.manual_seed(0)
    net, first = DecoderFirst(3, 3), torch.randn(6, 3, 3, 3)
    torch.save(net.state_dict(), tmp_path / "trained.pt")
    torch.save({"encoder.weight": first}, tmp_path / "init.pt")
    paths = {"path": tmp_path / "trained.pt", "init": tmp_path / "init.pt"}
    assert torch.equal(checkpoint(3, 3, **paths, arch=DecoderFirst).initial, first)
