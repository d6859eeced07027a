"""ResNets for CIFAR: a 3x3 stem with stride 1, no pooling, then basic blocks."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from repsim_energy.models.architectures.scaling import channels, initialize
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["ResNet", "resnet18", "resnet20", "resnet34"]

STAGES = {
    18: ((64, 2), (128, 2), (256, 2), (512, 2)),
    20: ((16, 3), (32, 3), (64, 3)),
    34: ((64, 3), (128, 4), (256, 6), (512, 3)),
}
"""Channels and blocks of each stage (He et al., 2016: Table 1, and section 4.2 for depth 20)."""


class Block(nn.Module):
    """Basic block: two 3x3 convolutions with a shortcut.

    The shortcut is a 1x1 convolution where shapes differ (He et al., 2016, option B). Layers have
    the names, and are initialized in the order, of torchvision's basic block.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        shortcut = None
        if stride != 1 or before != after:
            shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, after, h / stride, w / stride) outputs for (n, before, h, w) inputs."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        residual += maps if self.downsample is None else self.downsample(maps)
        output: Tensor = self.relu(residual)
        return output


class ResNet(nn.Module):
    """Stem, stages of basic blocks, global average pooling and a linear classifier."""

    def __init__(
        self, stages: list[tuple[int, int]], filters: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, filters, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU(inplace=True)
        blocks: list[nn.Module] = []
        for index, (planes, count) in enumerate(stages):
            for block in range(count):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(Block(filters, planes, stride))
                filters = planes
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(filters, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the (n, num_classes) logits for (n, c, h, w) images."""
        maps = self.blocks(self.relu(self.bn1(self.conv1(images))))
        logits: Tensor = self.fc(self.pool(maps).flatten(1))
        return logits


def _resnet(
    depth: int,
    num_classes: int,
    in_channels: int,
    *,
    width: float = 1.0,
    filters: int | None = None,
    frozen: bool = False,
    sigma: float | None = None,
) -> ResNet:
    """Return a ResNet of basic blocks for CIFAR.

    Parameters
    ----------
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    frozen : whether the first layer is not trained
    sigma : standard deviation of the first layer's normal initial weights
    """
    stages = [(channels(planes, width), count) for planes, count in STAGES[depth]]
    net = ResNet(stages, filters or stages[0][0], num_classes, in_channels)
    initialize(net)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net


resnet18, resnet20, resnet34 = (partial(_resnet, depth) for depth in STAGES)
