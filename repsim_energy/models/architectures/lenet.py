"""LeNet-5 as published, and in the modern style with ReLU and max pooling."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from repsim_energy.errors import ShapeError, unknown_name
from repsim_energy.models.architectures.scaling import channels
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["connection_table", "lenet5"]

AMPLITUDE, SLOPE = 1.7159, 2 / 3
"""A and S of the squashing function (LeCun et al., 1998, appendix A)."""

INIT_BOUND = 2.4
"""Initial weights are uniform up to this number over the fan-in (ibid.)."""

FIELD = 32
"""Height and width of the images that the network is made for (ibid., section II-B)."""

S2_MAPS, C3_MAPS = 6, 16

Layer = TypeVar("Layer", bound=nn.Module)


def lenet5(
    num_classes: int,
    in_channels: int,
    *,
    style: Literal["original", "modern"] = "original",
    width: float = 1.0,
    filters: int | None = None,
    frozen: bool = False,
    sigma: float | None = None,
) -> nn.Sequential:
    """Return LeNet-5, with the layers of the publication by default.

    Source: LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to Document
    Recognition", section II-B and appendix A; doi:10.1109/5.726791.

    Parameters
    ----------
    style : original has the published layers C1 to F6 with 60,000 weights and reads images of up
        to 32x32 pixels; modern has ReLU, max pooling and all connections, and reads images of any
        size from 16x16 pixels
    width : factor on the channels of all layers
    filters : channels of the first layer alone
    frozen : whether the first layer is not trained
    sigma : standard deviation of the first layer's normal initial weights

    Notes
    -----
    With ``style=original``, these parts are those of the publication: convolutions of 5x5 pixels,
    subsampling with a trainable coefficient and bias, the connections of C3, the squashing function
    after each layer, and the initial weights. These are not:

    - The output is a linear layer. That of the publication computes distances to fixed codes, which
      are bitmaps of the digits. There are no codes for other classes. They were not trained, so the
      60,000 weights do not include them.
    - Smaller images are extended to 32x32 by repeating their border. The publication extends 28x28
      digits by their background, which is the same unless they touch the border.
    - Optimizer, loss and the normalization of the input are those of the toolkit.
    """
    c1, c3, c5, f6 = (channels(full, width) for full in (S2_MAPS, C3_MAPS, 120, 84))
    sizes = (in_channels, filters or c1, c3, c5, f6, num_classes)
    styles = {"original": _original, "modern": _modern}
    if style not in styles:
        raise unknown_name("style of lenet5", style, styles)
    net = styles[style](*sizes)
    init_first_layer(net, frozen=frozen, sigma=sigma)
    return net


def _modern(images: int, c1: int, c3: int, c5: int, f6: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(images, c1, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(c1, c3, 5),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(5),
        nn.Flatten(),
        nn.Linear(25 * c3, c5),
        nn.ReLU(),
        nn.Linear(c5, f6),
        nn.ReLU(),
        nn.Linear(f6, classes),
    )


def _original(images: int, c1: int, c3: int, c5: int, f6: int, classes: int) -> nn.Sequential:
    layers: dict[str, nn.Module] = {
        "pad": PadToField(),
        "c1": _drawn(nn.Conv2d(images, c1, 5), 25 * images),
        "squash1": Squash(),
        "s2": _drawn(Subsampling(c1), 4),
        "squash2": Squash(),
        "c3": _partial_convolution(connection_table(c1, c3)),
        "squash3": Squash(),
        "s4": _drawn(Subsampling(c3), 4),
        "squash4": Squash(),
        "c5": _drawn(nn.Conv2d(c3, c5, 5), 25 * c3),
        "squash5": Squash(),
        "flatten": nn.Flatten(),
        "f6": _drawn(nn.Linear(c5, f6), c5),
        "squash6": Squash(),
        "classifier": _drawn(nn.Linear(f6, classes), f6),
    }
    return nn.Sequential(OrderedDict(layers))


def _partial_convolution(table: Tensor) -> nn.Conv2d:
    """Return a convolution of 5x5 pixels with the connections of an (after, before) table."""
    after, before = table.shape
    layer = _drawn(nn.Conv2d(before, after, 5), 25 * table.sum(1))
    parametrize.register_parametrization(layer, "weight", Connections(table))
    return layer


def _drawn(layer: Layer, fan_in: Tensor | int) -> Layer:
    """Draw weights and biases uniformly up to 2.4 / fan-in, a number for all or for each map."""
    with torch.no_grad():
        for weights in layer.parameters():
            bound = INIT_BOUND / torch.as_tensor(fan_in, device="cpu").to(weights)
            weights.uniform_(-1, 1).mul_(bound.view(-1, *[1] * (weights.ndim - 1)))
    return layer


def connection_table(before: int = S2_MAPS, after: int = C3_MAPS) -> Tensor:
    """Return which maps of S2 each map of C3 is connected to.

    The first six maps of C3 are connected to three neighboring maps of S2, the next six to four
    neighboring maps, three to two pairs of neighbors, and the last one to all six. Neighbors are
    counted in a circle. For other numbers of maps, the table is stretched: maps are connected if
    any two published maps in their place are.

    Source: LeCun et al. (1998), Table I.

    Parameters
    ----------
    before, after : numbers of maps of S2 and C3

    Returns
    -------
    (after, before) bool

    Examples
    --------
    >>> [row.nonzero().flatten().tolist() for row in connection_table()[[0, 5, 6, 12, 15]]]
    [[0, 1, 2], [0, 1, 5], [0, 1, 2, 3], [0, 1, 3, 4], [0, 1, 2, 3, 4, 5]]
    """
    patterns = [*[(0, 1, 2)] * 6, *[(0, 1, 2, 3)] * 6, *[(0, 1, 3, 4)] * 3, tuple(range(6))]
    published = torch.zeros(C3_MAPS, S2_MAPS, dtype=torch.int64, device="cpu")
    for row, pattern in enumerate(patterns):
        published[row, [(row + column) % S2_MAPS for column in pattern]] = 1
    rows, columns = _places(after, C3_MAPS), _places(before, S2_MAPS)
    return rows @ published @ columns.T > 0


def _places(count: int, published: int) -> Tensor:
    """Return 1 where map i of ``count`` and a published map j overlap on a common scale."""
    i = torch.arange(count, device="cpu")[:, None]
    j = torch.arange(published, device="cpu")
    return ((i * published < (j + 1) * count) & (j * count < (i + 1) * published)).long()


class PadToField(nn.Module):
    """Extension of smaller images to 32x32 pixels by repeating their border."""

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, c, 32, 32) images for (n, c, h, w) images.

        Raises
        ------
        ShapeError
            For larger images.
        """
        height, width = images.shape[-2:]
        if max(height, width) > FIELD:
            raise ShapeError(
                f"LeNet-5 got images of {height}x{width} pixels, expected at most {FIELD}x{FIELD}; "
                f"add size={FIELD} to the data set, or use lenet5:style=modern"
            )
        rows, columns = FIELD - height, FIELD - width
        top, left = rows // 2, columns // 2
        return F.pad(images, (left, columns - left, top, rows - top), mode="replicate")


class Squash(nn.Module):
    r"""Squashing function :math:`f(a) = A \tanh(S a)` with A = 1.7159 and S = 2/3.

    It maps 1 to 1 and -1 to -1 (LeCun et al., 1998, appendix A).
    """

    def forward(self, values: Tensor) -> Tensor:
        """Return the squashed values, of the same shape."""
        return AMPLITUDE * torch.tanh(SLOPE * values)


class Subsampling(nn.Module):
    """Sums of 2x2 blocks, times a trainable coefficient, plus a trainable bias for each map."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, maps: Tensor) -> Tensor:
        """Return (n, c, h / 2, w / 2) values for (n, c, h, w) maps."""
        sums = F.avg_pool2d(maps, 2, divisor_override=1)
        return self.coefficient[:, None, None] * sums + self.bias[:, None, None]


class Connections(nn.Module):
    """Parametrization of a convolution's weight by the 5x5 kernels of its connections alone."""

    place: Tensor
    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        count = int(table.sum())
        place = torch.full(table.shape, count, device="cpu")
        place[table] = torch.arange(count, device="cpu")
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("place", place, persistent=False)

    def forward(self, kernels: Tensor) -> Tensor:
        """Return the (k, c, kh, kw) filters of (n, kh, kw) kernels, zero without a connection."""
        return F.pad(kernels, (0, 0, 0, 0, 0, 1))[self.place]

    def right_inverse(self, filters: Tensor) -> Tensor:
        """Return the (n, kh, kw) kernels of the connections in (k, c, kh, kw) filters."""
        return filters[self.table]
