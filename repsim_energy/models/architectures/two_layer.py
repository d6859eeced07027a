"""The two-layer convolutional network of the theory of convolutional sparse coding."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn

from repsim_energy.errors import UsageError
from repsim_energy.models.architectures.scaling import channels, initialize
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["two_layer_cnn"]

GRID = 4
"""Rows and columns of the blocks that the classifier reads averages of."""


def two_layer_cnn(
    num_classes: int,
    in_channels: int,
    *,
    m1: int = 16,
    m2: int = 32,
    n0: int = 5,
    n1: int = 5,
    boundary: Literal["circular", "zeros"] = "circular",
    width: float = 1.0,
    frozen: bool = False,
    sigma: float | None = None,
) -> nn.Sequential:
    r"""Return two convolutional layers with ReLU, and a linear classifier of their output.

    .. math:: z_2 = \sigma(b_2 + W_2^\top \sigma(b_1 + W_1^\top x))

    :math:`\sigma` is ReLU. Both layers have stride 1 and outputs as large as the image. The
    :func:`~repsim_energy.convolution_matrix` of a layer's weight is :math:`W^\top`. The classifier
    reads averages of :math:`z_2` over a grid of 4x4 blocks, so that images may have any size.

    Source: Papyan, Romano and Elad (2017), "Convolutional Neural Networks Analyzed via
    Convolutional Sparse Coding", section 2; arXiv:1607.08194.

    Parameters
    ----------
    m1 : filters of the first layer
    m2 : filters of the second layer
    n0 : height and width of the first layer's filters
    n1 : height and width of the second layer's filters
    boundary : pixels beyond the border of the image: circular, as in the publication, for those at
        the opposite border, or zeros
    width : factor on m1 and m2
    frozen : whether the first layer is not trained
    sigma : standard deviation of the first layer's normal initial weights
    """
    for name, value in {"m1": m1, "m2": m2, "n0": n0, "n1": n1}.items():
        if value < 1:
            raise UsageError(f"two_layer_cnn got {name}={value}, expected at least 1")
    m1, m2 = channels(m1, width), channels(m2, width)
    layers: dict[str, nn.Module] = {
        "layer1": nn.Conv2d(in_channels, m1, n0, padding="same", padding_mode=boundary),
        "relu1": nn.ReLU(),
        "layer2": nn.Conv2d(m1, m2, n1, padding="same", padding_mode=boundary),
        "relu2": nn.ReLU(),
        "pool": nn.AdaptiveAvgPool2d(GRID),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(GRID**2 * m2, num_classes),
    }
    net = nn.Sequential(OrderedDict(layers))
    initialize(net)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net
