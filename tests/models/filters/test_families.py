"""Impulse responses agree with weights for the networks of torchvision and timm."""

import collections
import warnings

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from repsim_energy.errors import UsageError
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.impulse_response import impulse_response
from repsim_energy.models.filters.layers import applies_its_weight, find_first_conv
from repsim_energy.models.filters.network_response import response_through

CLOSE = 1e-6
"""Maximum error of an impulse response relative to the largest weight."""

SWIN = {
    "patch_size": [4, 4],
    "embed_dim": 12,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": [4, 4],
}

FAMILIES = {
    "alexnet": models.alexnet,
    "convnext": lambda: models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]),
    "densenet": lambda: models.DenseNet(4, (2,)),
    "efficientnet": models.efficientnet_b0,
    "googlenet": lambda: models.googlenet(init_weights=False),
    "inception": lambda: models.inception_v3(init_weights=False),
    "maxvit": models.maxvit_t,
    "mnasnet": models.mnasnet0_5,
    "mobilenetv2": models.mobilenet_v2,
    "mobilenetv3": models.mobilenet_v3_small,
    "regnet": models.regnet_x_400mf,
    "resnet": models.resnet18,
    "shufflenetv2": models.shufflenet_v2_x0_5,
    "squeezenet": models.squeezenet1_1,
    "swin_transformer": lambda: models.SwinTransformer(**SWIN),
    "swin_transformer v2": lambda: models.SwinTransformer(
        **SWIN, block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2
    ),
    "vgg": lambda: models.VGG(nn.Sequential(nn.Conv2d(3, 64, 3, padding=1)), init_weights=False),
    "vision_transformer": lambda: models.VisionTransformer(32, 16, 1, 2, 32, 32),
}
"""A family of torchvision -> a small member of it."""


def agree(found, weight):
    """Return whether an impulse response agrees with the weights."""
    return float((found - weight).abs().max()) <= CLOSE * float(weight.abs().max())


def families(names):
    """The modules of torchvision that define classification models, without the package name."""
    return {models.get_model_builder(name).__module__.rpartition(".")[2] for name in names}


def test_every_family_of_torchvision_is_there():
    known = {name.partition(" ")[0] for name in FAMILIES}
    assert families(models.list_models(module=models)) <= known


@pytest.mark.parametrize("build", FAMILIES.values(), ids=FAMILIES)
def test_the_impulse_response_of_a_familys_first_layer_is_its_weights(build):
    torch.manual_seed(0)
    net = build()
    found = first_layer(net, (3, 32, 32))
    assert (found.name, found.several) == (find_first_conv(net).name, "")
    assert applies_its_weight(found.layer)
    assert agree(response_through(net, found.name, (3, 32, 32)), found.layer.weight.detach())


def built(build, device="meta"):
    """A network, by default on the meta device."""
    with warnings.catch_warnings(), torch.device(device):
        warnings.simplefilter("ignore")  # of the libraries
        return build()


def first_of(build):
    """The first convolution of a network, with weights of its own."""
    try:
        net = built(build)
    except NotImplementedError:  # it computes with numbers while it is built
        net = built(build, "cpu")
    name, layer = find_first_conv(net)
    layer.to_empty(device="cpu")
    with torch.no_grad():
        for number in (*layer.parameters(), *layer.buffers()):
            number.normal_()
    return name, layer


def counted(builders):
    """Numbers of layers that agree and that are no plain convolutions of colors, and the rest."""
    counts, others = collections.Counter(), {}
    torch.manual_seed(0)
    for name, build in builders.items():
        try:
            place, layer = first_of(build)
        except (UsageError, RuntimeError, ValueError) as error:
            others[name] = str(error).splitlines()[0]
            continue
        if not applies_its_weight(layer) or layer.in_channels != 3:
            others[name] = f"{place}: {layer}"
            continue
        size = [k + 2 * s for k, s in zip(layer.kernel_size, layer.stride, strict=True)]
        found = impulse_response(layer, 3, tuple(size))
        counts[agree(found, layer.weight.detach())] += 1
    return counts, others


@pytest.mark.slow
def test_impulse_responses_of_torchvisions_networks_are_their_weights():
    names = models.list_models(module=models)
    options = dict.fromkeys(("googlenet", "inception_v3"), {"init_weights": False})
    counts, others = counted(
        {n: lambda n=n: models.get_model(n, weights=None, **options.get(n, {})) for n in names}
    )
    print(len(names), dict(counts), others)
    assert counts == {True: len(names)}


SMALL = (
    "test_",
    "atto",
    "femto",
    "pico",
    "nano",
    "xxs",
    "mini",
    "tiny",
    "xs",
    "small",
    "lite",
    "_b0",
    "18",
    "s0",
    "_t",
    "_s",
)
"""Words in the names of small members of families, the smallest first."""

MOST = 15_000_000
"""Maximum number of parameters of a network that is run in this test."""


def small_one(names):
    """Return the network with the name of the smallest size."""
    return min(names, key=lambda n: next((i for i, s in enumerate(SMALL) if s in n), len(SMALL)))


@pytest.mark.slow
def test_impulse_responses_of_timms_families_are_their_weights():
    """Others than plain convolutions of the image are printed with a reason."""
    timm = pytest.importorskip("timm", reason="timm is not installed, so its networks are not read")
    counts, others = collections.Counter(), {}
    modules = {module: timm.list_models(module=module) for module in timm.list_modules()}
    names = [small_one(members) for members in modules.values() if members]
    for name in names:
        torch.manual_seed(0)
        whole = built(lambda name=name: timm.create_model(name))
        if sum(p.numel() for p in whole.parameters()) > MOST:
            others[name] = "too large"
            continue
        net = built(lambda name=name: timm.create_model(name), "cpu")
        image = (net.default_cfg["input_size"][0], 64, 64)  # less to compute, where it is taken
        try:
            if first_layer(net, image).problem:
                image = net.default_cfg["input_size"]
            found = first_layer(net, image)
            bank = response_through(net, found.name, image)
        except UsageError as error:
            others[name] = str(error)
            continue
        if found.several or not applies_its_weight(found.layer) or found.layer.in_channels != 3:
            others[name] = f"{found.name}: {tuple(bank.shape)} of {found.layer} {found.several}"
            continue
        counts[agree(bank, found.layer.weight.detach())] += 1
    print(len(names), dict(counts), others)
    assert counts[True] > 0.4 * len(names)
    assert not counts[False]
