"""The linear CNN of the theory: a convolution averaged over positions, and a fixed classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["LinearCNN", "linear_cnn"]


class LinearCNN(nn.Module):
    r"""A linear CNN of depth 2 with a fixed classifier.

    .. math:: \hat y_c = \frac1J \sum_j \sum_{k \equiv c \,(C)} p_j^\top w_k

    The patches are :math:`p_j`, the filters :math:`w_k`. With C = 1 output this is the network of
    Chowers & Weiss (2023), section 4. With more, filter k adds to the output of class k mod C, so
    that each class has filters of its own with the same dynamics.
    """

    def __init__(self, num_classes: int, in_channels: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, kernel, bias=False)
        votes = torch.eye(num_classes)[torch.arange(filters) % num_classes]
        self.register_buffer("votes", votes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the (n, num_classes) outputs for (n, c, h, w) images."""
        outputs: Tensor = self.conv(images).mean((2, 3)) @ self.votes
        return outputs


def linear_cnn(
    num_classes: int,
    in_channels: int,
    *,
    filters: int = 64,
    kernel: int = 3,
    width: float = 1.0,
    frozen: bool = False,
    sigma: float | None = 1e-3,
) -> LinearCNN:
    """Return the linear CNN of the theory.

    Parameters
    ----------
    filters : number of filters
    kernel : height and width of the filters
    width : factor on ``filters``; the network has no other layer
    frozen : whether the filters are not trained
    sigma : standard deviation of the normal initial weights, 0 in the limit of the theory
    """
    net = LinearCNN(num_classes, in_channels, max(1, round(filters * width)), kernel)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net
