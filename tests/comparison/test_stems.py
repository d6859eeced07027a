"""Networks whose first layer is no convolution of the image are compared and trained."""

import numpy as np
import pytest
import torch
from samples import Net, both_splits
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.models.filters.applied_filters import applied_filters, filter_dilation

IMAGE = (3, 12, 12)


def patches_last(images, size):
    """(n, c, h, w) -> (n, tokens, size * size * c), the channels of a pixel side by side."""
    n, c, h, w = images.shape
    cut = images.reshape(n, c, h // size, size, w // size, size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, size * size * c)


def test_gaps_between_the_pixels_that_patches_see_are_left_out(pictures):
    """Patches unfolded with gaps are those of a dilated convolution."""
    torch.manual_seed(0)
    cut = nn.Unfold(3, dilation=(2, 1))
    net = Net(lambda n, x: n.embed(n.cut(x).mT), cut=cut, embed=nn.Linear(27, 8))
    dilated = nn.Conv2d(3, 8, 3, dilation=(2, 1))
    with torch.no_grad():
        dilated.weight.copy_(net.embed.weight.view(8, 3, 3, 3))
    assert filter_dilation(net.embed, applied_filters(net, "embed", IMAGE)) == (2, 1)
    result = rs.compare({"a": net, "b": nn.Sequential(dilated)}, pictures, seeds=1)
    first, second = result.energy.sel(stage="trained").values.reshape(2, 27)
    np.testing.assert_allclose(first, second, 1e-6)


def as_linear(conv):
    """The same patch embedding as a linear layer of patches."""
    embed = nn.Linear(48, len(conv.weight), bias=False)
    with torch.no_grad():
        embed.weight.copy_(conv.weight.permute(0, 2, 3, 1).flatten(1))
    return Net(lambda n, x: n.embed(patches_last(x, 4)), embed=embed)


def test_a_patch_embedding_is_compared_as_the_strided_convolution_that_it_is(pictures):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 16, 4, 4, bias=False)
    models = {"conv": nn.Sequential(conv), "linear": as_linear(conv)}
    result = rs.compare(models, pictures, seeds=1, stage="trained")
    assert result.first_layer.values.tolist() == ["0", "embed"]
    first, second = result.energy.sel(stage="trained").values.reshape(2, 48)
    np.testing.assert_allclose(first, second, 1e-6)
    named = rs.TrainedModel(models["linear"], layer="embed")
    again = rs.compare({"named": named}, pictures, seeds=1, stage="trained")
    np.testing.assert_array_equal(again.energy.sel(stage="trained").values.ravel(), second)


def test_two_branches_are_asked_for_and_each_can_be_named(pictures):
    net = Net(
        lambda n, x: n.fine(patches_last(x, 2)).mean(1) + n.coarse(patches_last(x, 4)).mean(1),
        fine=nn.Linear(12, 5),
        coarse=nn.Linear(48, 5),
    )
    with pytest.raises(UsageError, match=r"'fine' \(Linear\), 'coarse' \(Linear\)"):
        rs.compare({"net": net}, pictures, seeds=1)
    for name, size in (("fine", 12), ("coarse", 48)):
        result = rs.compare({"net": rs.TrainedModel(net, layer=name)}, pictures, seeds=1)
        assert result.sizes["component"] == size


def mlp(num_classes, in_channels):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(in_channels * 36, 8), nn.ReLU(), nn.Linear(8, num_classes)
    )


def test_filters_of_a_whole_image_are_on_the_components_of_whole_images():
    """Against the components of the flattened images, in float64."""
    images = rs.ImageSet(
        torch.randint(0, 256, (150, 3, 6, 6), dtype=torch.uint8, generator=torch.manual_seed(0)),
        torch.arange(150) % 3,
        ("a", "b", "c"),
        "whole",
    )
    net = mlp(3, 3)
    result = rs.compare({"mlp": net}, images, seeds=1, stage="trained")
    rows = images.images.flatten(1).double().numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    weights = net[1].weight.detach().double().numpy()
    expected = np.sqrt(((weights @ vectors[:, ::-1]) ** 2).mean(0))
    np.testing.assert_allclose(result.energy.sel(stage="trained").values.ravel(), expected, 1e-5)
    np.testing.assert_allclose(result.eigenvalue.values.ravel(), values[::-1], 1e-8)


def test_architectures_without_convolution_are_trained_and_compared():
    images = rs.ImageSet(
        torch.randint(0, 256, (150, 3, 6, 6), dtype=torch.uint8, generator=torch.manual_seed(0)),
        torch.arange(150) % 3,
        ("a", "b", "c"),
        "whole",
    )
    recipe = rs.Recipe(lr=0.05, batch=30, steps=4, snapshots=2)
    result = rs.compare([mlp], images, recipe=recipe, seeds=2)
    assert result.first_layer.values.tolist() == ["1"]
    assert result.attrs["stage"] == "change"
    assert np.isfinite(result.similarity).all()
    assert float(result.energy.sel(stage="change").min()) > 0
    activations = rs.compare(
        [mlp], both_splits(images), "cka", layers=["first", "1"], recipe=recipe, seeds=1
    )
    both = activations.similarity.sel(layer="first", layer_ref="1").squeeze()
    assert float(both) == pytest.approx(1)


def test_too_few_images_for_filters_of_whole_images_are_refused(pictures):
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, 5))
    with pytest.raises(UsageError, match="60 patches for 432 components, expected more than 432"):
        rs.compare({"mlp": net}, pictures, seeds=1)
