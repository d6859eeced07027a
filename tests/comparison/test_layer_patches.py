"""Patches that deeper layers see, beside slow loops, the known basis and real forward passes."""

import numpy as np
import pytest
import torch
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison.layer_patches import layer_bases
from repsim_energy.models.filters.any_layer import layer_filters, window_of
from repsim_energy.numerics.patches import seen

IMAGES = torch.rand(12, 3, 10, 9, generator=torch.Generator().manual_seed(0)).double()

LAYERS = {
    "plain": nn.Conv2d(4, 5, 3),
    "padded": nn.Conv2d(4, 5, (3, 2), padding=(1, 2)),
    "strided": nn.Conv2d(4, 5, 3, stride=(2, 3), padding=1),
    "dilated": nn.Conv2d(4, 5, (2, 3), dilation=(2, 1), padding=2, bias=False),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, padding=1),
    "depthwise": nn.Conv2d(4, 8, 3, groups=4, stride=2),
    "1x1": nn.Conv2d(4, 7, 1, stride=2),
    "same": nn.Conv2d(4, 5, (4, 2), padding="same", dilation=(1, 2)),
    "reflected": nn.Conv2d(4, 5, 3, padding=2, padding_mode="reflect"),
    "circular": nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular"),
    "normed": nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3, groups=2, dilation=2)),
}


@pytest.fixture(autouse=True)
def same_weights():
    torch.manual_seed(0)


def network(layer):
    front = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(inplace=True))
    nn.init.normal_(front[0].weight)
    return nn.Sequential(front, layer, nn.ReLU(inplace=True)).double()


def slow_patches(maps, layer):
    """(g, n, d) patches of a convolution, place by place."""
    (kh, kw), (rows, columns), groups = layer.kernel_size, layer.dilation, layer.groups
    window = window_of(layer, "layer")
    padded = nn.functional.pad(maps, list(window.padding), mode=window.mode)
    height, width = rows * (kh - 1) + 1, columns * (kw - 1) + 1
    found = [[] for _ in range(groups)]
    for image in padded:
        for y in range(0, padded.shape[2] - height + 1, layer.stride[0]):
            for x in range(0, padded.shape[3] - width + 1, layer.stride[1]):
                patch = image[:, y : y + height : rows, x : x + width : columns]
                for g, part in enumerate(patch.chunk(groups)):
                    found[g].append(part.flatten())
    return torch.stack([torch.stack(group) for group in found])


@pytest.mark.filterwarnings("ignore:Using padding=.same.")  # of torch
@pytest.mark.parametrize("kind", LAYERS)
def test_moments_and_outputs_are_those_of_patches_one_by_one(kind, monkeypatch):
    monkeypatch.setattr(seen, "CHUNK_BYTES", 20_000)  # several parts
    monkeypatch.setattr(seen, "MIN_BLOCK", 5)
    net = network(LAYERS[kind])
    with torch.no_grad():
        maps = net[0](IMAGES)
        patches = slow_patches(maps, net[1])
        groups, _, d = patches.shape
        bias = 0 if net[1].bias is None else net[1].bias.double()
        filters = layer_filters(net[1], "1").double().flatten(1).unflatten(0, (groups, -1))
        responses = (patches @ filters.mT).permute(1, 0, 2).flatten(1) + bias
        output = net[1](maps).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(responses, output, rtol=1e-5, atol=1e-6)  # read in float32

    basis = layer_bases(net, ["1"], IMAGES)["1"]
    covariance = torch.stack([group.T.cov(correction=0) for group in patches]).mean(0)
    rebuilt = basis.components.T @ torch.diag(basis.eigenvalues) @ basis.components
    torch.testing.assert_close(rebuilt, covariance, rtol=0, atol=1e-12)
    torch.testing.assert_close(basis.mean, patches.mean((0, 1)), rtol=0, atol=1e-12)
    assert basis.patch == (4 // groups, *net[1].kernel_size)
    assert basis.count == patches[..., 0].numel()


def test_inside_the_image_the_first_layer_has_the_known_basis():
    pixels = (255 * IMAGES).to(torch.uint8)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1))
    known = rs.patch_moments(pixels, (3, 3)).basis()
    found = layer_bases(net, "first", pixels, places="inside")["first"]
    torch.testing.assert_close(found.eigenvalues, known.eigenvalues, rtol=1e-6, atol=0)
    profile = rs.energy_profile(net[0].weight, found)
    np.testing.assert_allclose(profile, rs.energy_profile(net[0].weight, known), rtol=1e-4)
    assert found.count == known.count
    padded = layer_bases(net, "first", pixels)["first"]
    assert padded.count == 12 * 5 * 5
    assert padded.eigenvalues[0] > 1.5 * known.eigenvalues[0]


def test_the_split_into_batches_changes_nothing_but_rounding():
    net = network(nn.Conv2d(4, 5, 3, padding=1))
    whole = layer_bases(net, ["1"], IMAGES)["1"]
    parts = layer_bases(net, ["1"], iter(IMAGES.split(5)))["1"]
    torch.testing.assert_close(parts.eigenvalues, whole.eigenvalues, rtol=1e-10, atol=1e-14)
    assert parts.count == whole.count


def test_a_linear_layer_sees_vectors_at_every_position():
    net = nn.Sequential(nn.Flatten(2), nn.Linear(90, 6), nn.Tanh(), nn.Flatten(), nn.Linear(18, 4))
    images = torch.rand(50, 3, 10, 9, generator=torch.Generator().manual_seed(1))
    bases = layer_bases(net, "all", images)
    rows = images.flatten(2).flatten(0, 1).double()
    spread = rows.T.cov(correction=0).trace()
    assert bases["1"].patch == (90, 1, 1)
    assert bases["1"].count == 150
    assert bases["4"].patch == (18, 1, 1)
    assert bases["4"].count == 50
    torch.testing.assert_close(bases["1"].eigenvalues.sum(), spread, rtol=1e-6, atol=0)
    assert rs.energy_profile(net[1].weight, bases["1"]).shape == (90,)


def test_a_layer_that_is_used_twice_sees_the_patches_of_both_uses():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, images):
            return self.conv(self.conv(images))

    net = Twice().double()
    with torch.no_grad():
        both = torch.cat([IMAGES, net.conv(IMAGES)])
    patches = slow_patches(both, net.conv)[0]
    basis = layer_bases(net, ["conv"], IMAGES)["conv"]
    assert basis.count == len(patches)
    spread = patches.T.cov(correction=0).trace()
    torch.testing.assert_close(basis.eigenvalues.sum(), spread, rtol=1e-10, atol=0)


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 2, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layer_bases(net.train(), "convs", IMAGES.float())
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_dead_channels_are_left_out_with_a_warning():
    net = network(nn.Conv2d(4, 5, 3))
    with torch.no_grad():
        net[0][0].bias[1] = -100.0
    with pytest.warns(rs.RepsimWarning, match="left out: 9 of 36 of layer '1' "):
        basis = layer_bases(net, ["1"], IMAGES)["1"]
    assert basis.without_variance == 9


class PadsItself(nn.Conv2d):
    def forward(self, maps):
        return super().forward(nn.functional.pad(maps, [1, 1, 1, 1]))


class Clamps(nn.Conv2d):
    def forward(self, maps):
        return super().forward(maps.clamp_max(0.1))


@pytest.mark.parametrize(
    ("layer", "named", "message"),
    [
        (nn.ConvTranspose2d(4, 4, 3), ["1"], "is ConvTranspose2d, expected Conv2d or Linear"),
        (nn.Conv2d(4, 4, 3), ["2"], "is ReLU, expected Conv2d or Linear"),
        (nn.Conv2d(4, 4, 3), ["7"], "7"),
        (nn.Conv2d(4, 4, 3), ["output"], "got layers=output, which has no filters"),
        (nn.Conv2d(4, 4, 3), [], "expected at least one name"),
        (PadsItself(4, 4, 3), ["1"], "another number of places"),
        (nn.Conv2d(4, 4, 12), ["1"], "no place for a patch of 12x12"),
        (nn.Conv2d(4, 4, 2), "1,9", "9"),
    ],
)
def test_what_cannot_be_measured_is_refused(layer, named, message):
    with pytest.raises(rs.RepsimError, match=message):
        layer_bases(network(layer), named, IMAGES)


def test_a_layer_that_does_something_else_is_refused():
    with pytest.raises(rs.RepsimError, match="linear"):
        layer_bases(network(Clamps(4, 4, 3)), ["1"], IMAGES)


def test_too_few_patches_unused_layers_and_nan_are_refused():
    net = network(nn.Conv2d(4, 5, 3))
    with pytest.raises(rs.DataError, match="layer '1': got 6 patches for 36 components"):
        layer_bases(net, ["1"], IMAGES[:1, :, :5, :6])
    with pytest.raises(rs.DataError, match="NaN"):
        layer_bases(net, ["1"], IMAGES.clone().fill_(torch.nan))
    with pytest.raises(rs.DataError, match="no images"):
        layer_bases(net, ["1"], [])
    net.add_module("spare", nn.Identity())
    net[1].spare = nn.Conv2d(1, 1, 1)
    with pytest.raises(rs.UsageError, match="is not used by Sequential"):
        layer_bases(net, ["1.spare"], IMAGES)
    with pytest.raises(rs.UsageError, match="places='valid'"):
        layer_bases(net, ["1"], IMAGES, places="valid")
    with pytest.raises(rs.UsageError, match="patches of 8193 numbers, expected at most 8192"):
        layer_bases(nn.Sequential(nn.Flatten(), nn.Linear(8193, 2)), "all", IMAGES)
