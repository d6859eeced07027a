"""The linear CNN of the theory: one convolution, summed over filters, averaged over positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["LinearCNN", "linear_cnn"]


class LinearCNN(nn.Module):
    r"""A depth-2 linear CNN with a fixed read-out.

    .. math:: \hat y_c = \frac1J \sum_j \sum_{k \equiv c \,(C)} p_j^\top w_k

    With C = 1 output this is the network of Chowers & Weiss (2023), section 4. With more, filter
    k votes for class k mod C, and each class follows the same dynamics with its own filters.
    """

    def __init__(self, num_classes: int, in_channels: int, filters: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, kernel, bias=False)
        votes = torch.eye(num_classes)[torch.arange(filters) % num_classes]
        self.register_buffer("votes", votes)

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, num_classes) outputs of (n, c, h, w) images."""
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
    filters : the number of filters
    kernel : their height and width
    width : factor on ``filters``; the network has no other layer
    frozen : the filters stay as initialized
    sigma : standard deviation of the normal initial weights; the theory takes it to 0
    """
    net = LinearCNN(num_classes, in_channels, max(1, round(filters * width)), kernel)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net
