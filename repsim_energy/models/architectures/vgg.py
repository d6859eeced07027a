"""VGG networks for CIFAR: 3x3 convolutions, global average pooling, one linear layer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from repsim_energy.models.architectures.scaling import channels, initialize
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["VGG", "vgg11", "vgg13", "vgg16", "vgg19"]

STAGES = (64, 128, 256, 512, 512)
"""Channels of each stage (Simonyan & Zisserman, 2015, Table 1)."""

CLASSIFIER_SD = 0.01
"""Standard deviation of the classifier's initial weights (ibid., section 3.1)."""

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions per stage of configurations A, B, D and E."""


class VGG(nn.Module):
    """Convolutions with max pooling, then global average pooling and a linear classifier.

    Pooling rounds odd sizes up, so that 30x30 images pass all five stages.
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
        """Return the (n, num_classes) logits for (n, c, h, w) images."""
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
    """Return a VGG network for CIFAR.

    Parameters
    ----------
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    bn : whether a batch norm follows each convolution
    frozen : whether the first layer is not trained
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
