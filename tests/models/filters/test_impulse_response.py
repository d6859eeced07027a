"""The filters of a layer are those that it applies to an image, for every class of layers."""

import copy
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import small_cnn
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.architectures.vgg import vgg11
from repsim_energy.models.filters.impulse_response import impulse_response
from repsim_energy.models.filters.layers import applies_its_weight, read_filters, step_of


class Standardized(nn.Conv2d):
    """Weight standardization (Qiao et al., 2019)."""

    def applied(self):
        rows = self.weight.flatten(1)
        rows = rows - rows.mean(1, keepdim=True)
        return (rows / (rows.var(1, keepdim=True) + 1e-5).sqrt()).view_as(self.weight)

    def forward(self, images):
        return F.conv2d(images, self.applied(), self.bias, self.stride, self.padding)


class Masked(nn.Conv2d):
    """Sees the pixels above and to the left only, as in PixelCNN."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("mask", torch.ones_like(self.weight))
        rows, columns = self.kernel_size
        self.mask[:, :, rows // 2, columns // 2 :] = 0
        self.mask[:, :, rows // 2 + 1 :] = 0

    def applied(self):
        return self.weight * self.mask

    def forward(self, images):
        return F.conv2d(images, self.applied(), self.bias, self.stride, self.padding)


class Same(nn.Conv2d):
    """Pads as TensorFlow does, more to the right than to the left."""

    def forward(self, images):
        rows, columns = (
            max(0, (-(-n // s) - 1) * s + k - n)
            for n, s, k in zip(images.shape[2:], self.stride, self.kernel_size, strict=True)
        )
        pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        return F.conv2d(F.pad(images, pads), self.weight, self.bias, self.stride)


class Constrained(nn.Conv2d):
    """Rescales its own weights before each use, in place."""

    def forward(self, images):
        with torch.no_grad():
            self.weight.copy_(torch.renorm(self.weight, 2, 0, maxnorm=0.1))
        return super().forward(images)


class Coordinates(nn.Conv2d):
    """Adds a number for each position, which does not depend on the image."""

    def forward(self, images):
        answer = super().forward(images)
        return answer + torch.linspace(0, 9, answer[0].numel()).view_as(answer[0])


class Drawn(nn.Conv2d):
    """Counts its calls in a buffer, an attribute and a list, and draws random numbers."""

    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("calls", torch.zeros(1))
        self.number, self.shapes = 0, []

    def forward(self, images):
        self.calls += 1
        self.number += 1
        self.shapes.append(images.shape)
        self.seen = images
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
        return super().forward(images)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def parametrized():
    layer = nn.Conv2d(3, 5, 3)
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


def with_hook(scale):
    layer = nn.Conv2d(3, 5, 3)
    layer.register_forward_hook(lambda _, __, answer: scale * answer)
    return layer


def power_iterations(build):
    layer = build(nn.Conv2d(3, 5, 3))
    for _ in range(20):
        layer(torch.rand(1, 3, 8, 8))
    return layer


def holed(layer):
    """The weights of a dilated convolution, (k, c, 1 + d (kh - 1), 1 + e (kw - 1)), with zeros."""
    k, c, kh, kw = layer.weight.shape
    d, e = layer.dilation
    bank = torch.zeros(k, c, d * (kh - 1) + 1, e * (kw - 1) + 1)
    bank[:, :, ::d, ::e] = layer.weight
    return bank


def grouped(layer):
    """The weights of a convolution in groups, zero in the channels of the other groups."""
    bank = torch.zeros(layer.out_channels, layer.in_channels, *layer.kernel_size)
    own, wide = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    for g in range(layer.groups):
        rows = slice(g * own, (g + 1) * own)
        bank[rows, g * wide : (g + 1) * wide] = layer.weight[rows]
    return bank


def spectral(layer):
    norm = layer.parametrizations.weight[0]
    rows = layer.parametrizations.weight.original.flatten(1)
    return (rows / (norm._u @ rows @ norm._v)).view(5, 3, 3, 3)


def old_spectral(layer):
    rows = layer.weight_orig.flatten(1)
    return (rows / (layer.weight_u @ rows @ layer.weight_v)).view(5, 3, 3, 3)


def old_norm(layer):
    return layer.weight_g * layer.weight_v / layer.weight_v.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def old_weight_norm():
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Conv2d(3, 5, 3))


STEMS = {
    "standardized": (lambda: Standardized(3, 5, 3, padding=1), lambda m: m.applied()),
    "standardized, no bias": (lambda: Standardized(3, 5, 3, 2, bias=False), lambda m: m.applied()),
    "masked": (lambda: Masked(3, 5, 7, padding=3), lambda m: m.applied()),
    "same padding": (lambda: Same(3, 5, (3, 4), stride=2), lambda m: m.weight),
    "constrained": (
        lambda: Constrained(3, 5, 3),
        lambda m: torch.renorm(m.weight, 2, 0, maxnorm=0.1),
    ),
    "coordinates": (lambda: Coordinates(3, 5, 3), lambda m: m.weight),
    "pruned": (
        lambda: prune.random_unstructured(nn.Conv2d(3, 5, 3), "weight", 0.5),
        lambda m: m.weight_orig * m.weight_mask,
    ),
    "weight norm": (
        lambda: parametrizations.weight_norm(nn.Conv2d(3, 5, 3)),
        lambda m: m.weight,
    ),
    "old weight norm": (old_weight_norm, old_norm),
    "spectral norm": (lambda: power_iterations(parametrizations.spectral_norm), spectral),
    "old spectral norm": (lambda: power_iterations(nn.utils.spectral_norm), old_spectral),
    "parametrized": (parametrized, lambda m: 2 * m.parametrizations.weight.original),
    "hook": (lambda: with_hook(3), lambda m: 3 * m.weight),
    "dilated": (lambda: nn.Conv2d(3, 5, 3, dilation=2), holed),
    "dilated, circular": (
        lambda: nn.Conv2d(3, 5, (2, 3), dilation=(3, 1), padding="same", padding_mode="circular"),
        holed,
    ),
    "widely dilated": (lambda: nn.Conv2d(3, 5, 3, 2, dilation=12, padding=12), holed),
    "groups": (lambda: nn.Conv2d(4, 6, 3, 2, groups=2), grouped),
    "depthwise": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3), grouped),
    "half": (lambda: nn.Conv2d(3, 6, 3, groups=3).half(), grouped),
    "double": (lambda: Standardized(3, 5, 3).double(), lambda m: m.applied()),
    "all zero": (lambda: Masked(3, 5, 3).requires_grad_(False).apply(zero), holed),
}
"""Name -> function that builds a layer, and its filters computed from its weights."""


def zero(layer):
    layer.weight.zero_()


@pytest.fixture(params=STEMS, ids=lambda name: name.replace(" ", "_"))
def stem(request):
    build, expected = STEMS[request.param]
    torch.manual_seed(1)
    layer = build()
    with torch.no_grad():
        return layer, expected(layer).float()


def test_filters_are_those_that_the_layer_applies(stem):
    layer, expected = stem
    assert not applies_its_weight(layer)
    found = read_filters(layer)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=1e-7)


def test_filters_give_the_outputs_of_the_layer(stem):
    """Away from the borders, and minus the output for zeros."""
    layer, _ = stem
    bank = read_filters(layer)
    rows, columns = bank.shape[2:]
    dtype = next(layer.parameters()).dtype
    images = torch.randn(2, bank.shape[1], 3 * rows + 8, 3 * columns + 8).to(dtype)
    with torch.no_grad():
        answer = (layer.eval()(images) - layer(torch.zeros_like(images))).float()
    images, off = images.float(), max(torch.finfo(dtype).eps, 2e-7)
    windows = F.conv2d(images, bank)
    middle = answer[:, :, answer.shape[2] // 2, answer.shape[3] // 2]
    away = (windows - middle[:, :, None, None]).abs().amax((0, 1))
    assert float(away.min()) <= 16 * off * float(windows.abs().max() + 1)


def test_filters_are_those_of_the_loaded_weights():
    """The hooks of pruning only write ``weight`` when the layer is called."""
    torch.manual_seed(0)
    trained, fresh = (small_cnn(2, 3) for _ in range(2))
    for net in (trained, fresh):
        prune.random_unstructured(net[0], "weight", 0.5)
    fresh.load_state_dict(trained.state_dict())
    stale = fresh[0].weight
    assert not torch.equal(stale, trained[0].weight)
    torch.testing.assert_close(read_filters(fresh[0]), trained[0].weight.detach())
    assert fresh[0].weight is stale


PLAIN = [
    nn.Conv2d(3, 4, 1),
    nn.Conv2d(1, 4, (3, 5), padding="same"),
    nn.Conv2d(3, 4, 7, 2, 3),
    nn.Conv2d(3, 4, 8, 8, bias=False),
    nn.Conv2d(3, 4, 5, (1, 3), padding=2, padding_mode="reflect"),
    nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular").bfloat16(),
]


@pytest.mark.parametrize("layer", PLAIN, ids=str)
def test_the_impulse_response_of_a_plain_convolution_is_its_weight(layer):
    assert applies_its_weight(layer)
    k, s = layer.kernel_size, layer.stride
    found = impulse_response(layer, layer.in_channels, (k[0] + 2 * s[0], k[1] + 2 * s[1]))
    assert torch.equal(found, layer.weight.detach().double())


@pytest.mark.parametrize(
    "name", ["alexnet", "resnet18", "squeezenet1_0", "mobilenet_v3_small", "densenet121", "vgg11"]
)
def test_impulse_responses_agree_with_weights_over_families(name):
    net = vgg11(10, 3, width=0.25) if name == "vgg11" else zoo(name, 10, 3)
    layer = rs.find_first_conv(net).module
    k, s = layer.kernel_size, layer.stride
    found = impulse_response(layer, 3, (k[0] + 2 * s[0], k[1] + 2 * s[1]))
    assert torch.equal(found.float(), read_filters(layer))


class Rectified(nn.Conv2d):
    def forward(self, images):
        return super().forward(images).relu()


class Local(nn.Conv2d):
    """Scales its outputs by the position."""

    def forward(self, images):
        answer = super().forward(images)
        return answer * torch.arange(1, answer.shape[3] + 1)


class Normalized(nn.Conv2d):
    def forward(self, images):
        return super().forward(F.instance_norm(images))


class Spoiled(nn.Conv2d):
    def forward(self, images):
        return super().forward(images) / 0


class Unfinished(nn.Conv2d):
    def forward(self, images):
        raise NotImplementedError("not yet")


class Complex(nn.Conv2d):
    def forward(self, images):
        return torch.fft.fft2(super().forward(images))


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (Rectified(3, 4, 3), "'conv1' is not linear"),
        (Normalized(3, 4, 3), "'conv1' is not linear"),
        (Local(3, 4, 3), "different filters at different positions"),
        (Spoiled(3, 4, 3), "NaN or infinite"),
        (Unfinished(3, 4, 3), "not yet"),
        (Complex(3, 4, 3), "complex128"),
        (nn.Conv2d(3, 4, 3, dtype=torch.complex64), "complex64"),
        (Standardized(3, 4, 3, dtype=torch.complex64), "complex64"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_without_filters_are_refused_in_one_line(layer, problem):
    with pytest.raises(UsageError, match=problem) as error:
        read_filters(layer, "conv1")
    assert "\n" not in str(error.value)


def snapshot(module):
    """The whole state of a module."""
    found = {}
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            inner = dict(value) if isinstance(value, dict) else {"": value}
            for place, one in inner.items():
                kept = isinstance(one, list | set | dict | int | bool)
                number = copy.copy(one) if kept else None
                if isinstance(one, torch.Tensor):
                    number = one.detach().clone()
                grad = one.grad if isinstance(one, nn.Parameter) else None
                found[name, key, str(place)] = (id(one), number, grad)
    return found


def random_states():
    return (torch.get_rng_state(), random.getstate(), str(np.random.get_state()))  # noqa: NPY002


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drawn(3, 5, 3),
        lambda: Constrained(3, 5, 3),
        lambda: nn.utils.spectral_norm(nn.Conv2d(3, 5, 3)),
        lambda: parametrizations.spectral_norm(nn.Conv2d(3, 5, 3)),
        lambda: prune.random_unstructured(nn.Conv2d(3, 5, 3), "weight", 0.5),
        lambda: nn.Conv2d(3, 6, 3, groups=3).half(),
        lambda: with_hook(2),
    ],
)
def test_the_state_of_a_layer_is_restored(make):
    torch.manual_seed(0)
    layer = make().train()
    answer = layer(torch.rand(1, 3, 8, 8).to(next(layer.parameters()).dtype))
    answer.float().sum().backward()
    before, states = snapshot(layer), random_states()
    read_filters(layer)
    after = snapshot(layer)
    assert before.keys() == after.keys()
    for key, (identity, value, grad) in before.items():
        assert after[key][0] == identity, key
        assert after[key][2] is grad
        if isinstance(value, torch.Tensor):
            assert torch.equal(after[key][1], value), key
            assert (after[key][1].dtype, after[key][1].device) == (value.dtype, value.device)
        else:
            assert after[key][1] == value, key
    assert torch.equal(random_states()[0], states[0])
    assert random_states()[1:] == states[1:]


def test_the_profile_of_a_dilated_layer_is_on_the_patches_that_it_sees(pictures):
    """Compared with patches that are unfolded one by one, in float64."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, 3, dilation=(2, 1))
    result = rs.compare({"dilated": nn.Sequential(layer)}, pictures, stage="trained", seeds=1)
    pixels = pictures.images.double() / 255
    patches = F.unfold(pixels, 3, dilation=(2, 1)).transpose(1, 2).reshape(-1, 27)
    values, vectors = np.linalg.eigh(np.cov(patches.numpy().T, bias=True))
    expected = np.sqrt(
        ((layer.weight.detach().double().flatten(1).numpy() @ vectors[:, ::-1]) ** 2).mean(0)
    )
    np.testing.assert_allclose(result.energy.sel(stage="trained").values.ravel(), expected, 1e-6)
    np.testing.assert_allclose(result.eigenvalue.values.ravel(), values[::-1], 1e-8)


def dilated(num_classes, in_channels):
    net = small_cnn(num_classes, in_channels)
    net[0].dilation = (2, 2)
    return net


def test_dilated_layers_are_trained_and_compared_with_their_like(pictures):
    recipe = rs.Recipe(lr=0.05, batch=20, steps=4, snapshots=2)
    result = rs.compare([dilated], pictures, recipe=recipe, seeds=2)
    assert result.sizes["component"] == 27
    assert np.isfinite(result.similarity).all()
    with pytest.raises(UsageError, match=r"3x3x3 \(dilated by 2x2\)"):
        rs.compare([small_cnn, dilated], pictures, recipe=recipe, seeds=1)


def test_dilation_is_found_only_if_pixels_between_are_zero():
    layer = nn.Conv2d(3, 4, 3, dilation=2)
    assert step_of(layer, read_filters(layer)) == (2, 2)
    assert step_of(nn.Conv2d(3, 4, 3), torch.rand(4, 3, 3, 3)) == (1, 1)
    assert step_of(layer, torch.rand(4, 3, 5, 5)) == (1, 1)


@pytest.mark.parametrize("build", [old_weight_norm, lambda: Standardized(3, 5, 3)])
def test_architectures_with_such_layers_are_trained(build, pictures):
    """The stored initial filters are those that the layer applies, and training changes them."""

    def network(num_classes, in_channels):
        net = small_cnn(num_classes, in_channels, widths=(5,))
        net[0] = build()
        return net

    recipe = rs.Recipe(lr=0.05, batch=20, steps=4, snapshots=2)
    result = rs.compare([network], pictures, recipe=recipe, seeds=1)
    energies = result.energy.isel(model=0, seed=0, dataset=0)
    assert np.isfinite(energies).all()
    assert float(energies.sel(stage="change").max()) > 0
