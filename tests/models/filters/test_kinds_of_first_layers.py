"""First layers of many kinds, in a real forward pass: an output is its filter times the patch."""

from typing import NamedTuple

import pytest
import torch
from samples import Net
from torch import nn

from repsim_energy.models.filters.applied_filters import applied_filters, filter_dilation
from repsim_energy.models.filters.first_layer import first_layer

SIZE = 16


def cut(images, size):
    """(n, c, h, w) -> (n, tokens, size * size * c), the channels of a pixel side by side."""
    n, c, h, w = images.shape
    parts = images.reshape(n, c, h // size, size, w // size, size)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, size * size * c)


class FlexibleEmbedding(nn.Module):
    """Linear patch embedding that takes images or patches, as of NaFlexViT."""

    def __init__(self):
        super().__init__()
        self.proj, self.norm = nn.Linear(48, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(self.proj(cut(x, 4) if x.ndim == 4 else x))


class FlexibleTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeds = FlexibleEmbedding()
        self.cls = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 16, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.embeds(x) + self.positions
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], 1)
        return self.head(self.block(tokens)[:, 0])


class CenteredEmbedding(nn.Module):
    """Linear embedding of patches of 2 (x - 0.5), as of Gemma 4."""

    def __init__(self):
        super().__init__()
        self.input_proj = nn.Linear(48, 8, bias=False)
        self.positions = nn.Parameter(torch.randn(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head((self.input_proj(cut(2 * (x - 0.5), 4)) + self.positions).mean(1))


class Transform(nn.Module):
    """Fixed orthogonal transform of channels, as CSATv2 has of the cosines of patches."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("matrix", torch.linalg.qr(torch.randn(size, size))[0])

    def forward(self, x):
        return torch.einsum("nchw,dc->ndhw", x, self.matrix)


class Kind(NamedTuple):
    """A network, the name of its first layer, and a place of its output.

    ``pick`` takes the (n, k) outputs there; ``top`` and ``left`` are those of the patch.
    """

    build: object
    layer: str
    pick: object
    top: int
    left: int
    size: tuple
    channels: int = 3


def at(row, column):
    return lambda output: output[:, :, row, column]


def token(number):
    return lambda output: output[:, number]


def conv(channels=3, filters=6, kernel=3, **options):
    return lambda: nn.Sequential(nn.Conv2d(channels, filters, kernel, **options), nn.ReLU())


KINDS = {
    "grouped": Kind(conv(groups=3), "0", at(2, 5), 2, 5, (3, 3)),
    "depthwise": Kind(conv(filters=12, groups=3, bias=False), "0", at(4, 1), 4, 1, (3, 3)),
    "four groups": Kind(conv(4, 8, groups=4), "0", at(0, 0), 0, 0, (3, 3), 4),
    "dilated": Kind(conv(dilation=(2, 3)), "0", at(1, 2), 1, 2, (5, 7)),
    "strided": Kind(conv(stride=(2, 3), padding=1), "0", at(2, 3), 3, 8, (3, 3)),
    "oblong": Kind(conv(kernel=(1, 5)), "0", at(3, 3), 3, 3, (1, 5)),
    "mirrored border": Kind(conv(padding=1, padding_mode="reflect"), "0", at(3, 4), 2, 3, (3, 3)),
    "grouped, dilated, strided": Kind(
        conv(filters=9, groups=3, dilation=2, stride=3), "0", at(1, 2), 3, 6, (5, 5)
    ),
    "gray": Kind(conv(1), "0", at(3, 4), 3, 4, (3, 3), 1),
    "convolution in three dimensions": Kind(
        lambda: Net(lambda n, x: n.conv(x[:, :, None])[:, :, 0], conv=nn.Conv3d(3, 6, (1, 3, 3))),
        "conv",
        lambda output: output[:, :, 0, 5, 6],
        5,
        6,
        (3, 3),
    ),
    "flexible linear embedding": Kind(FlexibleTransformer, "embeds.proj", token(6), 4, 8, (4, 4)),
    "linear embedding of centered patches": Kind(
        CenteredEmbedding, "input_proj", token(9), 8, 4, (4, 4)
    ),
    "overlapping linear embedding": Kind(
        lambda: Net(
            lambda n, x: n.embed(n.cut(x).mT), cut=nn.Unfold(3, stride=2), embed=nn.Linear(27, 8)
        ),
        "embed",
        token(9),
        2,
        4,
        (3, 3),
    ),
    "space to depth": Kind(
        lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 6, 3)),
        "1",
        at(1, 2),
        2,
        4,
        (6, 6),
    ),
    "convolution of transformed patches": Kind(
        lambda: nn.Sequential(nn.PixelUnshuffle(4), Transform(48), nn.Conv2d(48, 6, 1)),
        "1",
        at(1, 2),
        4,
        8,
        (4, 4),
    ),
    "fully connected": Kind(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 8), nn.ReLU()),
        "1",
        lambda output: output,
        0,
        0,
        (SIZE, SIZE),
    ),
    "linear on each pixel": Kind(
        lambda: Net(lambda n, x: n.embed(x.flatten(2).mT), embed=nn.Linear(3, 8)),
        "embed",
        token(SIZE * 3 + 7),
        3,
        7,
        (1, 1),
    ),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_output_at_a_place_is_the_filter_times_the_patch(kind):
    """Relative to the output for an image of zeros, which holds biases and means."""
    torch.manual_seed(0)
    net = kind.build().eval()
    image = (kind.channels, SIZE, SIZE)
    name, layer, *_ = first_layer(net, image)
    assert name == kind.layer
    filters = applied_filters(net, name, image)
    assert filters.shape[2:] == kind.size
    outputs = []
    handle = layer.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    images = torch.rand(3, *image)
    for some in (images, torch.zeros_like(images)):
        net(some)
    handle.remove()
    found = kind.pick(outputs[0]) - kind.pick(outputs[1])
    rows, columns = (slice(start, start + n) for start, n in zip(kind[3:5], kind.size, strict=True))
    expected = torch.einsum("nchw,kchw->nk", images[:, :, rows, columns], filters)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_pixels_between_those_of_a_dilated_filter_are_left_out():
    net = KINDS["dilated"].build()
    filters = applied_filters(net, "0", (3, SIZE, SIZE))
    assert filter_dilation(net[0], filters) == (2, 3)
