"""The batch norm that follows a layer, found by forward passes and folded into filters."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import FrozenBatchNorm2d

from repsim_energy.errors import UsageError
from repsim_energy.models.architectures.resnet import resnet20
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.architectures.vgg import vgg11
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.layers import read_filters
from repsim_energy.models.filters.norm_folding import Norm, scale_filters

IMAGE = (3, 12, 12)
MAPS = (6, 4, 5)


def with_statistics(norm, seed=0):
    """A batch norm with other statistics and factors in every channel, some of them negative."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
        if tensor.is_floating_point():
            drawn = torch.randn(tensor.shape, generator=generator)
            tensor.data.copy_(drawn.square() + 0.1 if "var" in name else drawn + 0.2)
    return norm


class Affine(nn.Module):
    """Scales and shifts channels, as other frameworks write it."""

    def __init__(self, channels):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, maps):
        return maps * self.gamma.view(-1, 1, 1) + self.beta.view(-1, 1, 1)


class WithActivation(nn.BatchNorm2d):
    """A batch norm with an activation."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, maps):
        return self.act(self.drop(super().forward(maps)))


class Subclass(nn.BatchNorm2d):
    """A subclass of a batch norm, whose factors are measured."""


def doubled(norm):
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    return parametrize.register_parametrization(norm, "weight", Twice())


NORMS = {
    "plain": nn.BatchNorm2d(6),
    "another epsilon": nn.BatchNorm2d(6, eps=0.5),
    "without factors": nn.BatchNorm2d(6, affine=False),
    "synchronized": nn.SyncBatchNorm(6),
    "subclass": Subclass(6),
    "with an activation": WithActivation(6, eps=1e-3),
    "half precision": nn.BatchNorm2d(6).half(),
    "double precision": nn.BatchNorm2d(6).double(),
}


@pytest.mark.parametrize("name", NORMS)
def test_folded_filters_are_those_of_fuse_conv_bn(name):
    norm = with_statistics(copy.deepcopy(NORMS[name])).eval()
    conv = nn.Conv2d(3, 6, 3, dtype=norm.running_var.dtype).eval()
    found = scale_filters(read_filters(conv), Norm("norm", norm, MAPS).scale())
    expected = fuse_conv_bn_eval(conv, norm).weight
    tolerance = 2e-3 if expected.dtype == torch.float16 else 1e-5
    torch.testing.assert_close(found, expected.float(), rtol=tolerance, atol=tolerance)


def stated(norm):
    return norm.weight * (norm.running_var + norm.eps).rsqrt()


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (with_statistics(Affine(6)), lambda n: n.gamma),
        (with_statistics(FrozenBatchNorm2d(6)), stated),
        (doubled(with_statistics(nn.BatchNorm2d(6))), stated),
    ],
    ids=["affine", "frozen", "parametrized"],
)
def test_factors_are_measured_from_outputs(norm, expected):
    torch.testing.assert_close(Norm("norm", norm, MAPS).scale(), expected(norm).double())


def test_a_batch_norm_in_training_mode_is_folded_as_in_evaluation_mode_and_restored():
    for norm in (with_statistics(nn.BatchNorm2d(6)), with_statistics(Subclass(6))):
        before = copy.deepcopy(norm.state_dict())
        state = torch.get_rng_state()
        found = Norm("norm", norm.train(), MAPS).scale()
        assert norm.training
        assert all(torch.equal(before[name], t) for name, t in norm.state_dict().items())
        assert torch.equal(state, torch.get_rng_state())
        expected = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        torch.testing.assert_close(found.float(), expected.detach())


def test_a_module_that_is_no_longer_affine_has_nan_factors():
    norm = with_statistics(Subclass(6))
    norm.weight.data.fill_(torch.nan)
    assert Norm("norm", norm, MAPS).scale_or_nan().isnan().all()


class Block(nn.Module):
    """A convolution and a batch norm in modules of their own, registered in the other order."""

    def __init__(self, shortcut=False):
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.conv = nn.Sequential(nn.Conv2d(3, 6, 3))
        self.last = nn.Conv2d(6, 6, 1)
        self.shortcut = shortcut

    def forward(self, images):
        maps = self.conv(images)
        answer = self.last(self.norm(maps))
        return {"scores": (answer + maps if self.shortcut else answer).mean((2, 3))}


CONV = nn.Conv2d(3, 6, 3)
FOUND = {
    "0": (lambda: nn.Sequential(CONV, nn.BatchNorm2d(6)), "1"),
    "through": (
        lambda: nn.Sequential(CONV, nn.Identity(), nn.Dropout2d(0.5), WithActivation(6)),
        "3",
    ),
    "block": (Block, "norm.0"),
    "vgg11": (lambda: vgg11(10, 3, width=0.125), "features.0.1"),
    "resnet20": (lambda: resnet20(10, 3), "bn1"),
    "shufflenet": (lambda: zoo("shufflenet_v2_x0_5", 10, 3), "conv1.1"),
    "mobilenet": (lambda: zoo("mobilenet_v3_small", 10, 3), "features.0.1"),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_batch_norm_that_follows_is_found(name):
    build, expected = FOUND[name]
    net = build()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    image = (3, 32, 32) if name not in ("0", "through", "block") else IMAGE
    norm = following_norm(net, first_layer(net, image).name, image)
    assert norm.name == expected
    assert norm.module is net.get_submodule(expected)
    assert all(part.training for part in net.modules())
    assert not any(p._forward_hooks or p._forward_pre_hooks for p in net.modules())
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


class Ends(nn.Module):
    """Fails after the batch norm."""

    def forward(self, maps):
        raise RuntimeError("too small")


class ByFunction(nn.Module):
    """Applies its activation as a function."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)

    def forward(self, images):
        return self.norm(self.conv(images).relu())


REFUSED = {
    "relu": (nn.Sequential(CONV, nn.ReLU(), nn.BatchNorm2d(6)), r"'1' \(ReLU\).*is no batch norm"),
    "in-place relu": (
        nn.Sequential(CONV, nn.ReLU(inplace=True), nn.BatchNorm2d(6)),
        r"'1' \(ReLU\).*is no batch",
    ),
    "1x1 convolution": (nn.Sequential(CONV, nn.Conv2d(6, 6, 1)), r"'1' \(Conv2d\).*is no batch"),
    "group norm": (nn.Sequential(CONV, nn.GroupNorm(2, 6)), r"'1' \(GroupNorm\).*is no batch norm"),
    "instance norm": (nn.Sequential(CONV, nn.InstanceNorm2d(6)), r"InstanceNorm2d\).*no batch"),
    "statistics of the batch": (
        nn.Sequential(CONV, nn.BatchNorm2d(6, track_running_stats=False)),
        "is no batch norm",
    ),
    "nothing": (nn.Sequential(CONV), "goes to no other module"),
    "a function": (ByFunction(), "goes to no other module"),
    "shortcut": (Block(shortcut=True), "goes to 'norm.0' and elsewhere too"),
    "failing": (nn.Sequential(CONV, nn.BatchNorm2d(6), Ends()), r"cannot be run .*too small\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_modules_are_refused_in_one_line(name):
    net, message = REFUSED[name]
    with pytest.raises(UsageError, match=message) as caught:
        following_norm(net, first_layer(net, IMAGE).name, IMAGE)
    assert "\n" not in str(caught.value)
    assert not any(p._forward_hooks or p._forward_pre_hooks for p in net.modules())


@dataclass(slots=True)
class Answer:
    """Output of some networks."""

    scores: torch.Tensor


@pytest.mark.parametrize("answered", [Answer, lambda s: {"a": [s, 1]}, lambda s: (None, (s,))])
def test_a_shortcut_is_found_in_outputs_of_any_class(answered):
    for shortcut in (False, True):
        net = Block(shortcut)
        net.register_forward_hook(lambda _, __, given: answered(given["scores"]))
        if shortcut:
            with pytest.raises(UsageError, match="elsewhere too"):
                following_norm(net, "conv.0", IMAGE)
        else:
            assert following_norm(net, "conv.0", IMAGE).name == "norm.0"


def test_two_modules_that_follow_are_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.BatchNorm2d(6)

        def forward(self, images):
            maps = self.conv(images)
            return self.a(maps) + self.b(maps)

    with pytest.raises(UsageError, match=r"'a' \(BatchNorm2d\), 'b' \(BatchNorm2d\)"):
        following_norm(Two(), "conv", IMAGE)
