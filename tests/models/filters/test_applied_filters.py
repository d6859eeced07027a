"""Filters of layers of any class, read through the operations before them in their network."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from samples import Net, small_cnn
from test_first_layer import OwnConv
from test_impulse_response import random_states, snapshot
from torch import nn
from torch.nn.utils import parametrizations, prune

from repsim_energy.errors import UsageError
from repsim_energy.models.filters.applied_filters import (
    applied_filters,
    filter_dilation,
    filters_from_weights,
)
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.layers import read_filters


def patches_last(images, size):
    """(n, c, h, w) -> (n, tokens, size * size * c), the channels of a pixel side by side."""
    n, c, h, w = images.shape
    cut = images.reshape(n, c, h // size, size, w // size, size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, size * size * c)


def space_to_depth(images):
    """YOLO's Focus: pixels of a 2x2 square become channels, column by column."""
    tops, bottoms = images[..., ::2, :], images[..., 1::2, :]
    return torch.cat([tops[..., ::2], bottoms[..., ::2], tops[..., 1::2], bottoms[..., 1::2]], 1)


def rows_last(weight, size, channels):
    """(k, size * size * c) weights of patches whose channels lie side by side, as filters."""
    bank = torch.zeros(len(weight), channels, size, size, dtype=torch.float64)
    for k, a, b, c in itertools.product(*map(range, (len(weight), size, size, channels))):
        bank[k, c, a, b] = weight[k, (a * size + b) * channels + c]
    return bank


def channels_first(weight, c, kh, kw):
    """(k, c * kh * kw) weights of patches as nn.Unfold and nn.Flatten lay them out, as filters."""
    bank = torch.zeros(len(weight), c, kh, kw, dtype=torch.float64)
    for k, i, a, b in itertools.product(*map(range, bank.shape)):
        bank[k, i, a, b] = weight[k, (i * kh + a) * kw + b]
    return bank


def depth_to_space(weight, place):
    """(k, 4c, kh, kw) weights behind space-to-depth, as filters of twice the size.

    ``place(channel, a, b)`` is the channel that pixel (a, b) of a square becomes.
    """
    k, deep, kh, kw = weight.shape
    bank = torch.zeros(k, deep // 4, 2 * kh, 2 * kw, dtype=torch.float64)
    for i, c, a, b in itertools.product(*map(range, bank.shape)):
        bank[i, c, a, b] = weight[i, place(c, a % 2, b % 2), a // 2, b // 2]
    return bank


class PatchMatrix(nn.Module):
    """A patch embedding by a matrix of its own."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(48, 7))

    def forward(self, images):
        return F.unfold(images, 4, stride=4).transpose(1, 2) @ self.matrix


class Embedded(nn.Module):
    """The first layers of a vision transformer: a class token and positions after the patches."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 10, 8))
        self.embed = nn.Linear(48, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, images):
        tokens = self.embed(patches_last(images, 4))
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], 1)
        return self.block(tokens + self.places)[:, 0]


def with_coordinates(images):
    rows = torch.linspace(-1, 1, images.shape[2]).to(images)
    grid = rows[:, None].expand(len(images), 1, *images.shape[2:])
    return torch.cat([images, grid], 1)


def tokens_first(images):
    return patches_last(images, 4).transpose(0, 1)


def linear(before, after=5, **options):
    return nn.Linear(before, after, **options)


STEMS = {
    "mlp": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 5), nn.ReLU(), linear(5)),
        "1",
        lambda m: channels_first(m[1].weight, 3, 12, 12),
    ),
    "mlp by view": (
        lambda: Net(lambda n, x: n.out(n.fc(x.view(-1, 432))), out=linear(6), fc=linear(432, 6)),
        "fc",
        lambda m: channels_first(m.fc.weight, 3, 12, 12),
    ),
    "own normalization and places": (
        lambda: Net(
            lambda n, x: n.fc(((x - 0.5) / 0.25).flatten(1) + n.places),
            fc=linear(432),
            places=nn.Parameter(torch.randn(432)),
        ),
        "fc",
        lambda m: 4 * channels_first(m.fc.weight, 3, 12, 12),
    ),
    "vit by reshape": (Embedded, "embed", lambda m: rows_last(m.embed.weight, 4, 3)),
    "mixer by unfold": (
        lambda: Net(
            lambda n, x: n.mix(n.embed(F.unfold(x, 4, stride=4).transpose(1, 2)).transpose(1, 2)),
            mix=linear(9),
            embed=linear(48),
        ),
        "embed",
        lambda m: channels_first(m.embed.weight, 3, 4, 4),
    ),
    "overlapping patches": (
        lambda: Net(
            lambda n, x: n.embed(n.cut(x).mT),
            cut=nn.Unfold(3, padding=1, stride=2),
            embed=linear(27),
        ),
        "embed",
        lambda m: channels_first(m.embed.weight, 3, 3, 3),
    ),
    "unfold of tensors": (
        lambda: Net(
            lambda n, x: n.embed(x.unfold(2, 4, 4).unfold(3, 3, 3).movedim(1, 3).flatten(3)),
            embed=linear(36),
        ),
        "embed",
        lambda m: channels_first(m.embed.weight, 3, 4, 3),
    ),
    "patches of all images in one list": (
        lambda: Net(lambda n, x: n.embed(patches_last(x, 4).flatten(0, 1)), embed=linear(48)),
        "embed",
        lambda m: rows_last(m.embed.weight, 4, 3),
    ),
    "tokens first": (
        lambda: Net(lambda n, x: n.embed(tokens_first(x)), embed=linear(48)),
        "embed",
        lambda m: rows_last(m.embed.weight, 4, 3),
    ),
    "embedding by an own matrix": (
        lambda: nn.Sequential(PatchMatrix(), nn.ReLU(), linear(7)),
        "0",
        lambda m: channels_first(m[0].matrix.T, 3, 4, 4),
    ),
    "patches as a sequence": (
        lambda: Net(lambda n, x: n.embed(F.unfold(x, 4, stride=4)), embed=nn.Conv1d(48, 5, 1)),
        "embed",
        lambda m: channels_first(m.embed.weight.flatten(1), 3, 4, 4),
    ),
    "focus": (
        lambda: Net(lambda n, x: n.conv(space_to_depth(x)), conv=nn.Conv2d(12, 5, 3, padding=1)),
        "conv",
        lambda m: depth_to_space(m.conv.weight, lambda c, a, b: 3 * (2 * b + a) + c),
    ),
    "focus that goes around": (
        lambda: Net(
            lambda n, x: n.conv(space_to_depth(x)),
            conv=nn.Conv2d(12, 5, 3, padding=1, padding_mode="circular"),
        ),
        "conv",
        lambda m: depth_to_space(m.conv.weight, lambda c, a, b: 3 * (2 * b + a) + c),
    ),
    "pixel unshuffle": (
        lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 5, 3), nn.ReLU()),
        "1",
        lambda m: depth_to_space(m[1].weight, lambda c, a, b: 4 * c + 2 * a + b),
    ),
    "channels last": (
        lambda: Net(lambda n, x: n.mix(x.permute(0, 2, 3, 1)), mix=linear(3)),
        "mix",
        lambda m: channels_first(m.mix.weight, 3, 1, 1),
    ),
    "coordinates": (
        lambda: Net(lambda n, x: n.conv(with_coordinates(x)), conv=nn.Conv2d(4, 5, 3)),
        "conv",
        lambda m: m.conv.weight[:, :3].double(),
    ),
    "own convolution": (
        lambda: nn.Sequential(OwnConv(), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        "0",
        lambda m: m[0].kernels.double(),
    ),
    "video": (
        lambda: Net(lambda n, x: n.conv(x[:, :, None]), conv=nn.Conv3d(3, 5, (3, 5, 5), padding=1)),
        "conv",
        lambda m: m.conv.weight[:, :, 1].double(),
    ),
    "transposed, stride 1": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 5, 3), nn.ReLU()),
        "0",
        lambda m: m[0].weight.transpose(0, 1).flip(2, 3).double(),
    ),
    "half": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 5)).half(),
        "1",
        lambda m: channels_first(m[1].weight, 3, 12, 12),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(linear(432))),
        "1",
        lambda m: channels_first(m[1].weight, 3, 12, 12),
    ),
    "constants first": (
        lambda: Net(
            lambda n, x: n.mix(torch.ones(len(x), 9, 48).to(x)) + n.mix(patches_last(x, 4)),
            mix=linear(48),
        ),
        "mix",
        lambda m: rows_last(m.mix.weight, 4, 3),
    ),
    "float32 alone": (
        lambda: Net(lambda n, x: n.fc(x.float().flatten(1)), fc=linear(432)),
        "fc",
        lambda m: channels_first(m.fc.weight, 3, 12, 12),
    ),
}
"""Name -> function that builds a network, its first layer, and its filters computed by loops."""


IMAGE = (3, 12, 12)


@pytest.fixture(params=STEMS, ids=lambda name: name.replace(" ", "_"))
def stem(request):
    build, layer, expected = STEMS[request.param]
    torch.manual_seed(3)
    net = build()
    with torch.no_grad():
        return net, layer, expected(net)


def test_the_filters_are_those_of_the_weights_of_the_layer(stem):
    net, name, expected = stem
    found = first_layer(net, IMAGE)
    assert (found.name, found.problem, found.several) == (name, "", "")
    bank = applied_filters(net, name, IMAGE)
    assert bank.dtype == torch.float32
    torch.testing.assert_close(bank, expected.float(), rtol=2e-6, atol=1e-7)
    assert filter_dilation(found.layer, bank) == (1, 1)


def test_outputs_are_filters_times_patches(stem):
    """Patch by patch in float64, for every layout of the output."""
    net, name, _ = stem
    bank = applied_filters(net, name, IMAGE).double()
    dtype = next(net.parameters()).dtype
    image = torch.randn(1, *IMAGE).to(dtype)
    pairs = zip(seen(net, name, image), seen(net, name, 0 * image), strict=True)
    answers = torch.cat([answer - zero for answer, zero in pairs])
    (axis,) = (i for i, size in enumerate(answers.shape) if size == len(bank))
    places = answers.movedim(axis, -1).reshape(-1, len(bank))
    rows, columns = (IMAGE[1] - bank.shape[2] + 1, IMAGE[2] - bank.shape[3] + 1)
    found = set()
    for top, left in itertools.product(range(rows), range(columns)):
        patch = image[0, :, top:, left:].double()
        expected = torch.zeros(len(bank), dtype=torch.float64)
        for c, a, b in itertools.product(*map(range, bank.shape[1:])):
            expected += bank[:, c, a, b] * patch[c, a, b]
        off, place = (places - expected).abs().amax(1).min(0)
        if off <= 64 * torch.finfo(dtype).eps:
            found.add(int(place))
    assert len(found) >= min(2, rows * columns)


def seen(net, name, image):
    """The outputs of a layer in all calls."""
    found = []
    hook = net.get_submodule(name).register_forward_hook(lambda *args: found.append(args[2]))
    with torch.no_grad():
        net.eval()(image)
    hook.remove()
    return [answer.double() for answer in found]


class Shifted(nn.Module):
    """Sees patches and patches that are shifted by their own mean: not linear."""

    def forward(self, tokens):
        return tokens - tokens.mean(-1, keepdim=True).abs()


REFUSED = {
    "normed patches": (
        lambda: Net(
            lambda n, x: n.embed(n.norm(patches_last(x, 4))),
            norm=nn.LayerNorm(48),
            embed=linear(48),
        ),
        "embed",
        r"'embed' \(Linear\), with the operations before it, is not linear",
    ),
    "normed images": (
        lambda: Net(lambda n, x: n.fc(F.instance_norm(x).flatten(1)), fc=linear(432)),
        "fc",
        "is not linear",
    ),
    "bent pixels": (
        lambda: Net(lambda n, x: n.fc(x.clamp_min(0.1).flatten(1)), fc=linear(432)),
        "fc",
        "is not linear",
    ),
    "gamma": (
        lambda: Net(lambda n, x: n.fc(x.abs().pow(0.45).flatten(1)), fc=linear(432)),
        "fc",
        "is not linear",
    ),
    "shifted": (
        lambda: Net(
            lambda n, x: n.embed(n.cut(patches_last(x, 4))), cut=Shifted(), embed=linear(48)
        ),
        "embed",
        "is not linear",
    ),
    "behind a nonlinear layer": (
        lambda: nn.Sequential(nn.Flatten(), linear(432, 6), nn.ReLU(), linear(6)),
        "3",
        "is not linear",
    ),
    "recurrent": (
        lambda: Net(lambda n, x: n.rnn(x.flatten(2))[0], rnn=nn.GRU(144, 4)),
        "rnn",
        "returns tuple",
    ),
    "other weights at every position": (
        lambda: Net(
            lambda n, x: n.embed(patches_last(x, 4) * torch.arange(1, 10).to(x)[:, None]),
            embed=linear(48),
        ),
        "embed",
        "applies different filters at different positions",
    ),
    "rows of each channel": (
        lambda: Net(lambda n, x: n.row(x), row=linear(12)),
        "row",
        "different filters at different positions",
    ),
    "transposed, stride 2": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 3, 3, 2)),
        "0",
        "receptive fields of different sizes in 12x12x3 images",
    ),
    "one position sees a whole patch": (
        lambda: nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 4, 3, padding=1)),
        "1",
        "different",
    ),
    "image and its mirror image": (
        lambda: Net(lambda n, x: n.conv(torch.cat([x, x.flip(3)], 1)), conv=nn.Conv2d(6, 4, 3)),
        "conv",
        "different",
    ),
    "dead": (
        lambda: Net(lambda n, x: n.embed(patches_last(0 * x, 4)), embed=linear(48)),
        "embed",
        "does not depend on the images",
    ),
    "another size": (
        lambda: nn.Sequential(nn.Flatten(), linear(784)),
        "1",
        r"receives no 12x12x3 images \(.*\).*use images of the size",
    ),
    "infinite": (
        lambda: Net(lambda n, x: n.fc(x.flatten(1) / 0), fc=linear(432)),
        "fc",
        "NaN or infinite",
    ),
    "complex": (
        lambda: Net(lambda n, x: n.fc(x.flatten(1) + 0j), fc=linear(432, dtype=torch.complex64)),
        "fc",
        "complex",
    ),
}
"""Name -> function that builds a network, a layer without filters, and the error."""


@pytest.mark.parametrize(("build", "layer", "problem"), REFUSED.values(), ids=REFUSED)
def test_layers_without_filters_are_refused_in_one_line(build, layer, problem):
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=problem) as error:
        applied_filters(build(), layer, IMAGE)
    assert "\n" not in str(error.value)


class Counting(nn.Module):
    """Counts its images, keeps them, draws random numbers and rescales its own weights."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.embed = parametrizations.spectral_norm(nn.Linear(48, 5))
        self.pruned = prune.random_unstructured(nn.Linear(5, 5), "weight", 0.5)
        self.register_buffer("count", torch.zeros(1))
        self.drop, self.kept = nn.Dropout(), []

    def forward(self, images):
        self.count += len(images)
        self.kept.append(len(images))
        self.last = images
        torch.rand(1)
        with torch.no_grad():
            self.embed.bias.clamp_(-0.01, 0.01)
        return self.pruned(self.drop(self.embed(patches_last(self.norm(images), 4)).relu()))


def test_the_state_of_a_network_is_restored():
    torch.manual_seed(0)
    net = Counting().train()
    net.drop.eval()
    net(torch.rand(2, *IMAGE)).sum().backward()
    before, states = snapshot(net), random_states()
    bank = applied_filters(net, "embed", IMAGE)
    after = snapshot(net)
    assert before.keys() == after.keys()
    for key, (identity, value, gradient) in before.items():
        assert after[key][0] == identity, key
        assert after[key][2] is gradient, key
        same = (
            torch.equal(after[key][1], value) if torch.is_tensor(value) else after[key][1] == value
        )
        assert same, key
    assert torch.equal(random_states()[0], states[0])
    assert random_states()[1:] == states[1:]
    scale = (net.norm.running_var + net.norm.eps).rsqrt().double()[None, :, None, None]
    expected = rows_last(net.eval().embed.weight.detach(), 4, 3) * scale
    torch.testing.assert_close(bank, expected.float(), rtol=1e-5, atol=1e-6)


def test_filters_after_repeated_channels_are_those_of_the_gray_image():
    net = Net(lambda n, x: n.conv(x.repeat(1, 3, 1, 1)), conv=nn.Conv2d(3, 4, 3))
    found = applied_filters(net, "conv", (1, 12, 12))
    torch.testing.assert_close(found, net.conv.weight.detach().sum(1, keepdim=True))


def test_a_convolution_of_other_channels_is_read_without_the_network():
    """The comparison then refuses its channels."""
    net = small_cnn(2, 1)
    assert torch.equal(applied_filters(net, "0", IMAGE), read_filters(net[0]))


def reversed_channels(images):
    return images.flip(1)


def luma_and_chroma(images):
    """BT.601's Y, Cb and Cr, around zero."""
    return torch.einsum("ij,njhw->nihw", LUMA_CHROMA.to(images), images) - 0.5


def gray_three_times(images):
    return images.mean(1, keepdim=True).expand_as(images)


def of_each_image(images):
    """Standardized by the mean and standard deviation of all its numbers."""
    axes = (1, 2, 3)
    return (images - images.mean(axes, keepdim=True)) / images.std(axes, keepdim=True)


def green_turned_round(images):
    """As behind a batch norm of the image with a factor below zero."""
    return images * SCALES.to(images).view(-1, 1, 1) + 1


def over_deviations(images):
    """Standard deviations of channels, which belong to the normalization of the input."""
    return (images - 0.45) / torch.tensor([0.229, 0.224, 0.225]).to(images).view(-1, 1, 1)


SCALES = torch.tensor([1.08, -0.98, 1.45])

LUMA_CHROMA = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])

COLORS = {
    reversed_channels: torch.eye(3).flip(0),
    luma_and_chroma: LUMA_CHROMA,
    gray_three_times: torch.full((3, 3), 1 / 3),
    green_turned_round: SCALES.diag(),
    over_deviations: torch.eye(3),
    of_each_image: torch.eye(3),
    F.relu: torch.eye(3),
}
"""Operation on the image before the layer -> its matrix for the channels of a pixel."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("change", COLORS, ids=lambda change: change.__name__)
def test_filters_after_a_change_of_colors_are_those_of_red_green_and_blue(change, dtype):
    net = Net(lambda n, x: n.conv(change(x)), conv=nn.Conv2d(3, 4, 3)).to(dtype)
    weight = net.conv.weight.detach().float()
    expected = torch.einsum("kihw,ij->kjhw", weight, COLORS[change])
    torch.testing.assert_close(applied_filters(net, "conv", IMAGE), expected, rtol=1e-4, atol=1e-4)
    before = torch.randn_like(weight)
    found = filters_from_weights(net, "conv", before.to(dtype), IMAGE)
    expected = torch.einsum("kihw,ij->kjhw", before.to(dtype).float(), COLORS[change])
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(net.conv.weight.detach().float(), weight)
