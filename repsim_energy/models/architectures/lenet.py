"""LeNet-5 (LeCun et al., 1998) with ReLU and max pooling: a 5x5 first layer."""

from __future__ import annotations

from torch import nn

from repsim_energy.models.architectures.scaling import channels
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["lenet5"]


def lenet5(
    num_classes: int,
    in_channels: int,
    *,
    width: float = 1.0,
    filters: int | None = None,
    frozen: bool = False,
    sigma: float | None = None,
) -> nn.Sequential:
    """Return LeNet-5 for images of any size from 16x16 pixels.

    Parameters
    ----------
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    frozen : whether the first layer is not trained
    sigma : standard deviation of the first layer's normal initial weights
    """
    c1, c3, f5, f6 = (channels(full, width) for full in (6, 16, 120, 84))
    c1 = filters or c1
    net = nn.Sequential(
        nn.Conv2d(in_channels, c1, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(c1, c3, 5),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(5),
        nn.Flatten(),
        nn.Linear(25 * c3, f5),
        nn.ReLU(),
        nn.Linear(f5, f6),
        nn.ReLU(),
        nn.Linear(f6, num_classes),
    )
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net
