"""Networks as people write them: what they answer, what they need, how their layers are called."""

import collections
import dataclasses

import numpy as np
import pytest
import torch
from samples import RECIPE, both_splits, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, UndefinedSimilarityWarning, UsageError

IMAGES = noise_images(30, (3, 12, 12))


class Net(nn.Module):
    """A convolution whose maps go through a function."""

    def __init__(self, seed, then=lambda maps: maps.mean((2, 3))):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 10, 3)
        self.then = then

    def forward(self, images):
        return self.then(self.conv(images))


def inputs():
    """The images as networks see them: channel means and one standard deviation taken off."""
    x = IMAGES.images.double() / 255
    mean = x.mean((0, 2, 3))
    variance = x.square().mean() - mean.square().mean()
    return ((x - mean.view(-1, 1, 1)) / variance.sqrt()).float()


def between(a, b, layers=("output",)):
    """The result for two networks, and their similarity at the first layer."""
    found = rs.compare({"a": a, "b": b}, IMAGES, "cka", layers=layers, seeds=1)
    at = {"model": 0, "model_ref": 1, "layer": 0, "layer_ref": 0}
    return found, float(found.similarity.isel(at).squeeze())


def expected(a, b, then):
    """CKA of what functions make of the maps, computed apart from the product's networks."""
    with torch.no_grad():
        x, y = (then(net.conv(inputs())).reshape(len(IMAGES), -1) for net in (a, b))
    return rs.cka(x, y)


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    loss: torch.Tensor


Pair = collections.namedtuple("Pair", ["logits", "loss"])


def mean(maps):
    return maps.mean((2, 3))


CONTAINERS = {
    "tuple": lambda m: (mean(m), m.mean()),
    "list": lambda m: [mean(m)],
    "dict": lambda m: {"logits": mean(m), "loss": m.mean()},
    "dataclass": lambda m: Answer(mean(m), m.mean()),
    "named tuple": lambda m: Pair(mean(m), m.mean()),
    "nested": lambda m: {"loss": m.mean(), "out": ({"x": mean(m)}, None)},
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_one_tensor_of_an_answer_is_taken(kind):
    a, b = (Net(seed, CONTAINERS[kind]) for seed in (1, 2))
    assert between(a, b)[1] == pytest.approx(expected(a, b, mean), abs=1e-6)


SEVERAL = {
    "tuple": (lambda m: (mean(m), m), "0", "1"),
    "dict": (lambda m: {"logits": mean(m), "maps": m}, "logits", "maps"),
    "dataclass": (lambda m: Answer(mean(m), m), "logits", "loss"),
    "named tuple": (lambda m: Pair(mean(m), m), "logits", "loss"),
    "nested": (lambda m: (mean(m), {"of": [m]}), "0", "1.of.0"),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_one_of_several_tensors_has_to_be_named(kind):
    then, small, large = SEVERAL[kind]
    a, b = (Net(seed, then) for seed in (1, 2))
    with pytest.raises(UsageError, match=rf"'a': layer 'output'.*{small} \(2, 10\), {large} \(2, "):
        between(a, b)
    for entry, of in ((small, mean), (large, lambda maps: maps)):
        found = between(a, b, [f"output[{entry}]"])[1]
        assert found == pytest.approx(expected(a, b, of), abs=1e-6)
    with pytest.raises(UsageError, match="expected an entry 'other'"):
        between(a, b, ["output[other]"])


def test_layers_inside_may_answer_several_tensors_too():
    class Recurrent(Net):
        def __init__(self, seed):
            super().__init__(seed)
            self.gru = nn.GRU(10, 5, batch_first=True)

        def forward(self, images):
            return self.gru(self.conv(images).flatten(2).transpose(1, 2))[0]

    a, b = Recurrent(1), Recurrent(2)
    with pytest.raises(UsageError, match=r"layer 'gru'.*0 \(2, 100, 5\).*write 'gru\[ENTRY\]'"):
        between(a, b, ["gru"])
    assert between(a, b, ["gru[0]"])[1] == between(a, b, ["output"])[1]


def test_one_number_for_an_image_is_an_answer():
    def number(maps):
        return maps.mean((1, 2, 3))

    a, b = (Net(seed, number) for seed in (1, 2))
    assert between(a, b)[1] == pytest.approx(expected(a, b, number), abs=1e-6)
    with pytest.raises(UsageError, match=r"'net': .*returns \(20,\).*a score for every class"):
        rs.compare({"net": lambda *_: Net(1, number)}, IMAGES, recipe=RECIPE, seeds=1)


def test_complex_answers_are_refused():
    nets = (Net(seed, lambda maps: torch.fft.fft(mean(maps))) for seed in (1, 2))
    with pytest.raises(UsageError, match=r"'a': .*complex64, expected real.*view_as_real"):
        between(*nets)


def as_view(maps):
    return maps.view(-1, 1000)


def as_reshape(maps):
    return maps.reshape(-1, 1000)


def test_networks_that_need_contiguous_images_are_given_them():
    pairs = [[Net(seed, then) for seed in (1, 2)] for then in (as_view, as_reshape)]
    found = [between(*pair, layers=["conv", "output"])[0].similarity for pair in pairs]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def with_view(num_classes, in_channels):
    return nn.Sequential(Net(0, as_view), nn.Linear(1000, num_classes))


def test_networks_that_need_contiguous_images_are_trained():
    def with_reshape(num_classes, in_channels):
        return nn.Sequential(Net(0, as_reshape), nn.Linear(1000, num_classes))

    models = {"view": with_view, "reshape": with_reshape}
    found = rs.compare(models, (IMAGES.images, IMAGES.labels), recipe=RECIPE, seeds=1)
    view, reshape = found.energy.sel(stage="trained").values[0, :, 0]
    np.testing.assert_allclose(view, reshape, rtol=1e-4)
    both = rs.compare(models, both_splits(IMAGES), "cka", layers=["output"], recipe=RECIPE, seeds=1)
    assert float(both.similarity.squeeze()[0, 1]) == pytest.approx(1, abs=1e-4)


class Named(nn.Module):
    """Its submodules are called as the layers that every network has."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.stem = nn.Conv2d(3, 4, 3)
        self.first = nn.ReLU()
        self.convs = nn.Conv2d(4, 4, 3)
        self.output = nn.Linear(4, 5)

    def forward(self, images):
        maps = self.convs(self.first(self.stem(images)))
        return torch.softmax(9 * self.output(maps.mean((2, 3))), 1)


@pytest.mark.parametrize("name", ["first", "convs", "output"])
def test_submodules_are_meant_by_their_names_and_the_others_can_be_said(name):
    a, b = Named(1), Named(2)
    with pytest.warns(RepsimWarning, match=f"submodule '{name}'.*':{name}'"):
        named, own = between(a, b, [name])
    others = {":first": "stem", ":output": ""}
    seen = {}
    for net in (a, b):
        for layer, part in net.named_modules():
            part.register_forward_hook(
                lambda _, __, answer, layer=layer: seen.setdefault(layer, []).append(answer)
            )
    with torch.no_grad():
        a(inputs()), b(inputs())
    truth = {layer: rs.cka(*(x.flatten(1) for x in pair)) for layer, pair in seen.items()}
    assert own == pytest.approx(truth[name], abs=1e-6)
    assert list(named.layer.values) == [name]
    if f":{name}" in others:
        other = between(Named(1), Named(2), [f":{name}"])[1]
        assert other == pytest.approx(truth[others[f":{name}"]], abs=1e-6)
        assert abs(other - own) > 1e-3
    else:
        found = rs.compare(a, IMAGES, "cka", layers=[":convs"], seeds=1)
        assert list(found.layer.values) == ["stem", "convs"]


class Volume(nn.Module):
    """A stem that sees the channels as the depth of a volume."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(1, 4, 3)

    def forward(self, images):
        return self.stem(images[:, None])


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(432, 7), nn.ReLU(), nn.Linear(7, 2)), "1"),
        (Volume(), "stem"),
        (nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 4, 3)), "0"),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 4, 3)), "1"),
    ],
    ids=["linear layers alone", "3-d convolution", "groups", "space to depth"],
)
def test_named_layers_need_no_plain_first_convolution(net, layer):
    found = rs.compare({"net": net, "other": Net(1)}, IMAGES, "cka", layers=["output"], seeds=1)
    assert np.isfinite(found.similarity).all()
    alone = rs.compare({"net": net}, IMAGES, "cka", layers=[layer], seeds=1)
    assert float(alone.similarity.squeeze()) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_networks_are_trained_in_the_dtype_that_their_builder_gives_them(dtype):
    def build(num_classes, in_channels):
        return small_cnn(num_classes, in_channels).to(dtype)

    found = rs.compare({"net": build, "plain": small_cnn}, IMAGES, recipe=RECIPE, seeds=1)
    first, plain = found.energy.sel(stage="trained").values[0, :, 0]
    np.testing.assert_allclose(first, plain, rtol=1e-5 if dtype == torch.float64 else 0.05)
    assert not np.array_equal(first, plain)


def nan_where(layer):
    """Two convolutions, one of which answers NaN."""
    net = small_cnn(2, 3, widths=(4, 4))
    net[layer].register_forward_hook(lambda _, __, answer: answer * torch.nan)
    return net


@pytest.mark.parametrize("metric", ["cka", "cka:batch=15", "cka:estimator=biased"])
def test_a_layer_that_answers_nan_is_named_and_leaves_the_others(metric):
    models = {"good": small_cnn(2, 3, widths=(4, 4)), "bad": nan_where(2)}
    found = rs.compare(models, IMAGES, metric, layers=["0", "2"], seeds=1)
    assert "bad: layer '2' returns NaN" in found.attrs["failures"]
    values = found.similarity.squeeze().values  # model, layer, model, layer
    missing = np.isnan(values)
    assert missing[1, 1].all()
    assert missing[:, :, 1, 1].all()
    assert missing.sum() == 7
    np.testing.assert_allclose(values[0, 0, 0, 0], 1)


@pytest.mark.parametrize("metric", ["cka", "cka:batch=15"])
def test_a_layer_that_answers_one_image_alone_has_no_cka(metric):
    brightest = inputs().mean((1, 2, 3)).max()

    class Alone(Net):
        def forward(self, images):
            kept = images.mean((1, 2, 3)) >= brightest - 1e-6
            return self.conv(images).flatten(1) * kept[:, None]

    models = {"a": Alone(1), "b": Net(2)}
    named = r"layer 'output' of 'a' is undefined"
    with (
        pytest.warns(UndefinedSimilarityWarning, match=named),
        pytest.warns(UndefinedSimilarityWarning, match="one sample alone"),
    ):
        found = rs.compare(models, IMAGES, metric, layers=["output"], seeds=1)
    values = found.similarity.squeeze().values
    assert np.isnan(values[0]).all()
    assert values[1, 1] == pytest.approx(1)
