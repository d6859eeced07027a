"""The axis of features in networks of other libraries, whose layers' shapes are known."""

import pytest
import torch
import torchvision.models as zoo
from torch import nn
from torchvision.models.convnext import CNBlockConfig

from repsim_energy.comparison.feature_axes import observe_outputs

CPU = torch.device("cpu")
IMAGE = (3, 64, 64)

NETWORKS = {
    "vit": (
        lambda: zoo.VisionTransformer(64, 16, 2, 4, 32, 64),
        {
            "conv_proj": ((32, 4, 4), 1, False),
            "encoder.dropout": ((17, 32), 2, True),
            "encoder.layers.encoder_layer_1": ((17, 32), 2, True),
            "encoder.layers.encoder_layer_1.self_attention[0]": ((17, 32), 2, True),
            "encoder": ((17, 32), 2, True),
            "heads": ((1000,), 1, False),
        },
    ),
    "swin": (
        lambda: zoo.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4]),
        {
            "features.0.0": ((24, 16, 16), 1, False),
            "features.0.1": ((16, 16, 24), 3, False),
            "features.1.0": ((16, 16, 24), 3, False),
            "features.3": ((8, 8, 48), 3, False),
            "permute": ((48, 8, 8), 1, False),
        },
    ),
    "convnext": (
        lambda: zoo.ConvNeXt([CNBlockConfig(24, 48, 2), CNBlockConfig(48, None, 2)]),
        {
            "features.0": ((24, 16, 16), 1, False),
            "features.1.0.block.1": ((16, 16, 24), 3, False),
            "features.1.0.block.4": ((16, 16, 96), 3, False),
            "features.1.1": ((24, 16, 16), 1, False),
            "features.2.0": ((24, 16, 16), 1, False),
        },
    ),
    "maxvit": (
        lambda: zoo.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 8, 0.0),
        {
            "blocks.0": ((16, 16, 16), 1, False),
            "blocks.1": ((32, 8, 8), 1, False),
            "blocks.1.layers.0.layers.grid_attention.departition_swap": ((4, 16, 32), None, False),
        },
    ),
    "densenet": (
        lambda: zoo.DenseNet(8, (2, 2, 2, 2), 16),
        {
            "features.denseblock1": ((32, 16, 16), 1, False),
            "features.relu0": ((16, 32, 32), 1, False),
        },
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_of_known_networks(name):
    build, expected = NETWORKS[name]
    typed = {layer: layer for layer in expected}
    names = {layer: layer.removesuffix("[0]") for layer in expected}
    found = observe_outputs(build(), names, IMAGE, CPU, typed=typed)
    seen = {layer: (o.shape, o.axis, o.class_token) for layer, o in found.items()}
    assert seen == expected


def test_every_layer_of_a_convolutional_network_has_its_features_first():
    net = zoo.resnet18()
    parts = {n: n for n, m in net.named_modules() if n and not isinstance(m, nn.ReLU)}
    found = observe_outputs(net, parts, IMAGE, CPU)
    assert {o.axis for o in found.values() if len(o.shape) == 3} == {1}


def test_a_network_is_left_as_it_was():
    net = zoo.VisionTransformer(64, 16, 1, 4, 32, 64).train()
    before = {name: values.clone() for name, values in net.state_dict().items()}
    observe_outputs(net, {"encoder": "encoder"}, IMAGE, CPU)
    assert net.training
    assert all(torch.equal(values, before[name]) for name, values in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_norm_over_several_axes_follows_the_layer_that_receives_it():
    """By itself it leaves open where features are."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 8, 8)
            self.norm = nn.LayerNorm((64, 5))
            self.gru = nn.GRU(5, 4, batch_first=True)

        def forward(self, images):
            return self.gru(self.norm(self.conv(images).flatten(2).transpose(1, 2)))[0]

    names = {"norm": "norm", "gru[0]": "gru", "output": ""}
    found = observe_outputs(Net(), names, IMAGE, CPU)
    assert {layer: o.axis for layer, o in found.items()} == {"norm": 2, "gru[0]": 2, "output": 2}
