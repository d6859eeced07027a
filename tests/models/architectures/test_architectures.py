"""The built-in architectures: their sizes, options and first layers."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.models.architectures.lenet import lenet5
from repsim_energy.models.architectures.linear_cnn import linear_cnn
from repsim_energy.models.architectures.resnet import Block, resnet18, resnet20, resnet34
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.architectures.two_layer import two_layer_cnn
from repsim_energy.models.architectures.vgg import vgg11, vgg13, vgg16, vgg19
from repsim_energy.models.filters.layers import find_first_conv

MODERN = partial(lenet5, style="modern")
BUILDERS = [vgg11, vgg13, vgg16, vgg19, resnet18, resnet20, resnet34, linear_cnn, lenet5, MODERN]
BUILDERS += [two_layer_cnn]


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_have_one_output_per_class(build, channels):
    net = build(7, channels, width=0.25)
    assert net.eval()(torch.rand(2, channels, 32, 32)).shape == (2, 7)
    kernel = 5 if build in (lenet5, MODERN, two_layer_cnn) else 3
    assert find_first_conv(net).module.weight.shape[1:] == (channels, kernel, kernel)


def test_sizes_are_the_published_ones():
    """ResNet-20 has 0.27 M (He et al., 2016); torchvision's ResNets differ in the stem alone."""
    with torch.device("meta"):  # sizes without numbers
        assert parameters(resnet20(10, 3)) == pytest.approx(0.27e6, rel=0.02)
        for name, ours in {"resnet18": resnet18, "resnet34": resnet34}.items():
            theirs = zoo(name, 10, 3)
            stem = 64 * 3 * (7 * 7 - 3 * 3)
            assert parameters(ours(10, 3)) == parameters(theirs) - stem
        for name, ours in {"vgg11_bn": vgg11, "vgg16_bn": vgg16}.items():
            convolutions = parameters(zoo(name, 10, 3).features)
            biases = sum(m.out_channels for m in ours(10, 3).modules() if isinstance(m, nn.Conv2d))
            assert parameters(ours(10, 3).features) == convolutions - biases


@pytest.mark.parametrize(("before", "after", "stride"), [(6, 6, 1), (6, 10, 1), (6, 6, 2)])
def test_a_block_is_that_of_torchvision(before, after, stride):
    """The same weights from a seed, under the same names, with the same outputs and gradients."""
    torch.manual_seed(0)
    ours, project = Block(before, after, stride), None
    torch.manual_seed(0)
    if (before, stride) != (after, 1):
        project = nn.Sequential(conv1x1(before, after, stride), nn.BatchNorm2d(after))
    theirs = BasicBlock(before, after, stride, project)
    maps = torch.rand(3, before, 8, 8, generator=torch.Generator().manual_seed(0))
    answers = [block(maps) for block in (ours, theirs)]
    for answer in answers:
        answer.square().sum().backward()
    assert torch.equal(*answers)
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    for (name, p), (same, q) in pairs:
        assert name == same
        assert torch.equal(p, q)
        assert torch.equal(p.grad, q.grad)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("build", [vgg11, resnet20, lenet5, MODERN, linear_cnn])
def test_options_change_what_they_name(build):
    layer = find_first_conv(build(10, 3, filters=200, sigma=0.3)).module
    assert len(layer.weight) == 200
    assert float(layer.weight.detach().std()) == pytest.approx(0.3, rel=0.05)
    net = build(10, 3, frozen=True)
    layer = find_first_conv(net).module
    frozen = [p for p in net.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} == {id(p) for p in layer.parameters()}
    assert len(find_first_conv(build(10, 3, width=0.5)).module.weight) < len(
        find_first_conv(build(10, 3)).module.weight
    )


def test_batch_normalization_can_be_left_out():
    assert any(isinstance(m, nn.BatchNorm2d) for m in vgg11(10, 3).modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in vgg11(10, 3, bn=False).modules())


def test_the_linear_cnn_is_its_formula():
    """Mean over positions of the summed responses. Filter k adds to class k mod C."""
    images = torch.rand(5, 3, 9, 8).double()
    net = linear_cnn(3, 3, filters=7, sigma=1.0).double()
    responses = torch.einsum("ndj,kd->nk", F.unfold(images, 3), net.conv.weight.flatten(1)) / 42
    expected = torch.stack([responses[:, c::3].sum(1) for c in range(3)], 1)
    torch.testing.assert_close(net(images), expected)
    torch.testing.assert_close(
        net(2 * images + images.flip(0)), 2 * net(images) + net(images.flip(0))
    )


def test_the_first_layer_is_found_by_order_or_by_name():
    net = resnet20(10, 3)
    assert find_first_conv(net).name == "conv1"
    assert find_first_conv(net, "blocks.0.conv2").name == "blocks.0.conv2"
    with torch.device("meta"):
        assert find_first_conv(zoo("vit_b_32", 10, 3)).name == "conv_proj"
    with pytest.raises(UsageError, match="did you mean 'conv1'"):
        find_first_conv(net, "conv")
    with pytest.raises(UsageError, match="no Conv2d"):
        find_first_conv(nn.Linear(3, 4))


def test_the_zoo_refuses_unknown_names_and_other_channels(tmp_path, monkeypatch):
    with pytest.raises(ShapeError, match="expected 3 for torchvision/"):
        zoo("resnet18", 10, 1)
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        zoo("resnet188", 10, 3)
    with pytest.raises(UsageError, match="did you mean 'IMAGENET1K_V1'"):
        zoo("resnet18", 10, 3, weights="IMAGENET1K_V11")
