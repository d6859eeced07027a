"""CIFAR-style VGG: 3x3 convolutions with padding 1, global pooling, one linear layer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from repsim_energy.models.architectures.scaling import channels, initialize
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["VGG", "vgg11", "vgg13", "vgg16", "vgg19"]

STAGES = (64, 128, 256, 512, 512)
"""Channels between poolings (Simonyan & Zisserman, 2015, Table 1)."""

CLASSIFIER_SD = 0.01
"""Of the read-out's initial weights (Simonyan & Zisserman, 2015, section 3.1)."""

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions per stage of configurations A, B, D and E."""


class VGG(nn.Module):
    """Convolutions and poolings, then the mean over positions and a linear read-out.

    The poolings keep what is left at an odd edge, so that maps of 30x30 pass all five of them.
    """

    def __init__(
        self, widths: list[list[int]], num_classes: int, in_channels: int, bn: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage in widths:
            for width in stage:
                layers.append(_convolution(in_channels, width, bn))
                in_channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, num_classes) logits of (n, c, h, w) images."""
        logits: Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits


def _convolution(before: int, after: int, bn: bool) -> nn.Sequential:
    norm = [nn.BatchNorm2d(after)] if bn else []
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=not bn), *norm, nn.ReLU(inplace=True)
    )


def _vgg(
    depth: int,
    num_classes: int,
    in_channels: int,
    *,
    width: float = 1.0,
    filters: int | None = None,
    bn: bool = True,
    frozen: bool = False,
    sigma: float | None = None,
) -> VGG:
    """Return a CIFAR-style VGG.

    Parameters
    ----------
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    bn : batch normalization after each convolution
    frozen : the first layer stays as initialized
    sigma : standard deviation of the first layer's normal initial weights
    """
    body = zip(STAGES, DEPTHS[depth], strict=True)
    widths = [[channels(stage, width)] * count for stage, count in body]
    widths[0][0] = filters or widths[0][0]
    net = VGG(widths, num_classes, in_channels, bn)
    initialize(net)
    nn.init.normal_(net.classifier.weight, std=CLASSIFIER_SD)
    nn.init.zeros_(net.classifier.bias)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net


vgg11, vgg13, vgg16, vgg19 = (partial(_vgg, depth) for depth in DEPTHS)
