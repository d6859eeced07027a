"""CIFAR-style ResNet: a 3x3 stem with stride 1 and no pooling before the usual basic blocks."""

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
    """Two 3x3 convolutions whose result is added to what they see.

    Where the shapes differ, what they see passes a 1x1 convolution (He et al., 2016, option B).
    The layers are named, and drawn in the order, as in torchvision's basic block.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        project = None
        if stride != 1 or before != after:
            project = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )
        self.conv1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = project

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, after, h / stride, w / stride) maps of (n, before, h, w) ones."""
        changed = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        changed += maps if self.downsample is None else self.downsample(maps)
        answer: Tensor = self.relu(changed)
        return answer


class ResNet(nn.Module):
    """A stem, stages of basic blocks, the mean over positions and a linear read-out."""

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
        """Return (n, num_classes) logits of (n, c, h, w) images."""
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
    """Return a CIFAR-style ResNet of basic blocks.

    Parameters
    ----------
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    frozen : the first layer stays as initialized
    sigma : standard deviation of the first layer's normal initial weights
    """
    stages = [(channels(planes, width), count) for planes, count in STAGES[depth]]
    net = ResNet(stages, filters or stages[0][0], num_classes, in_channels)
    initialize(net)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net


resnet18, resnet20, resnet34 = (partial(_resnet, depth) for depth in STAGES)
