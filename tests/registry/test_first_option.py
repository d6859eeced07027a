"""The options first= and frozen=, which every architecture has."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from samples import noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, ShapeError, UsageError
from repsim_energy.numerics.frames.bank import frame_bank
from repsim_energy.registry import describe, load_registry, resolve_model
from repsim_energy.testing import check_model

PLUGIN = """
from torch import nn
from repsim_energy import hookimpl
from samples import small_cnn


def plain(num_classes, in_channels, *, channels: int = 6):
    '''Return a small network with a bias in its first layer.'''
    return small_cnn(num_classes, in_channels, widths=(channels,))


def declares(num_classes, in_channels, *, first: int = 2, frozen: int = 7):
    '''Return a network with options of these names of its own.'''
    return small_cnn(num_classes, in_channels, widths=(first * frozen,))


def takes_any(num_classes, in_channels, **options):
    '''Return a network of any options.'''
    net = small_cnn(num_classes, in_channels)
    net.options = options
    return net


def grouped(num_classes, in_channels):
    '''Return a network whose first layer has groups.'''
    stem = nn.Conv2d(in_channels, 2 * in_channels, 3, groups=in_channels)
    return nn.Sequential(stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(num_classes))


def linear(num_classes, in_channels):
    '''Return a network without convolutions.'''
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 144, num_classes))


@hookimpl
def repsim_models():
    everything = (plain, declares, takes_any, grouped, linear)
    return {one.__name__: one for one in everything}
"""

IMAGES = noise_images(40, (3, 12, 12))


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "networks.py"
    file.write_text(PLUGIN)
    return load_registry(installed=False, plugins=[file])


def built(registry, spec, images=IMAGES, seed=0):
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        return resolve_model(registry, spec).build(2, images.images.shape[1], images)


def first_conv(net):
    return next(one for one in net.modules() if isinstance(one, nn.Conv2d)).requires_grad_(False)


def cosine(weight, bank):
    """The cosines between the filters of a layer and those of a bank, one by one."""
    return nn.functional.cosine_similarity(weight.flatten(1).double(), bank.flatten(1))


@pytest.mark.parametrize("name", ["vgg11", "vgg11:bn=false", "resnet20", "linear_cnn", "lenet5"])
@pytest.mark.parametrize("frame", ["dct", "haar", "gabor", "random", "pca", "whitening"])
def test_the_first_layer_has_the_filters_of_the_frame_in_their_order(registry, name, frame):
    images = noise_images(40, (3, 32, 32))
    net = built(registry, f"{name}:width=0.25:first=frame/{frame}", images)
    layer = first_conv(net)
    patch = layer.kernel_size
    basis = rs.patch_moments(images.images, patch).basis()
    bank = frame_bank(frame, 3, patch, basis=basis)
    if name != "linear_cnn":  # whose width is a factor on filters too
        assert len(layer.weight) == len(bank)
    assert cosine(layer.weight, bank[: len(layer.weight)]) == pytest.approx(1, abs=1e-5)
    ratio = layer.weight.flatten(1).norm(dim=1) / bank[: len(layer.weight)].flatten(1).norm(dim=1)
    assert ratio.detach() == pytest.approx(float(ratio[0]), rel=1e-4)
    assert layer.bias is None or not layer.bias.any()
    assert net.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def response(weight, images):
    """The root mean variance of responses to all patches, from a convolution."""
    maps = nn.functional.conv2d(images.images.double() / 255, weight.double())
    return float(maps.var((0, 2, 3), correction=0).mean().sqrt())


@pytest.mark.parametrize("frame", ["dct", "whitening", "gabor"])
def test_responses_have_the_scale_of_the_filters_that_are_replaced(registry, frame):
    """He's initial weights have a variance of 2 / fan-in, and so a response of sqrt(2) sigma."""
    images = noise_images(40, (3, 32, 32))
    net = built(registry, f"vgg11:width=0.25:first=frame/{frame}", images)
    sigma = float((images.images.double() / 255).std())
    assert response(first_conv(net).weight, images) == pytest.approx(2**0.5 * sigma, rel=0.25)
    small = built(registry, f"vgg11:width=0.25:sigma=0.001:first=frame/{frame}", images)
    expected = 0.001 * 27**0.5 * sigma
    assert response(first_conv(small).weight, images) == pytest.approx(expected, rel=0.25)


def test_other_layers_begin_as_they_do_with_that_number_of_filters(registry):
    net = built(registry, "vgg11:width=0.25:first=frame/dct", noise_images(40, (3, 32, 32)))
    torch.manual_seed(0)
    plain = resolve_model(registry, "vgg11:width=0.25:filters=27").build(2, 3)
    assert first_conv(net).out_channels == 27
    for (name, one), other in zip(net.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other) == (one is not first_conv(net).weight), name


@pytest.mark.parametrize(
    "spec",
    ["plain", "linear", "takes_any:first=frame/dct", "plain:first=frame/dct", "resnet20:width=0.5"],
)
def test_every_architecture_can_be_frozen(registry, spec):
    model = resolve_model(registry, spec + ":frozen=true")
    declares = spec.startswith("resnet20")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        net = model.build(2, 3) if declares else model.build(2, 3, IMAGES)
    layers = [one for one in net.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    trained = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    assert trained == [False] + [True] * (len(layers) - 1)
    assert getattr(net, "options", {}) == {}


def test_an_architecture_that_accepts_any_option_receives_frozen_as_before(registry):
    net = resolve_model(registry, "takes_any:frozen=true:other=2").build(2, 3)
    assert net.options == {"frozen": "true", "other": "2"}


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.FlatProfileWarning")  # of no change
@pytest.mark.filterwarnings("ignore::repsim_energy.errors.UndefinedSimilarityWarning")
def test_a_frozen_frame_stays_and_a_free_one_is_trained(registry):
    recipe = rs.Recipe(batch=10, steps=3, lr=0.05)
    specs = ["plain:first=frame/dct:frozen=true", "plain:first=frame/dct"]
    with pytest.warns(RepsimWarning, match="first 6 are used, and 21 are left out"):
        result = rs.compare(
            specs, IMAGES, recipe=recipe, seeds=1, registry=registry, scheduler="local:1"
        )
    energy = result.energy.squeeze()
    for label, stays in zip(specs, (True, False), strict=True):
        init, trained = (energy.sel(model=label, stage=s).values for s in ("init", "trained"))
        assert np.array_equal(init, trained) == stays
    assert result.model_spec.values.tolist() == specs


def test_a_model_that_declares_the_options_receives_them(registry):
    spec = resolve_model(registry, "declares:first=3:frozen=5")
    assert first_conv(spec.build(2, 3)).out_channels == 15
    assert [one.default for one in describe(registry, "model", "declares")[1]] == ["2", "7"]


def test_the_key_of_a_run_contains_the_filters_and_is_unchanged_without(registry):
    def identity(spec):
        return resolve_model(registry, spec).identity

    expected = {"name": "plain", "options": {"channels": "6"}}
    plain = identity("plain")
    assert {key: plain[key] for key in expected} == expected
    assert set(plain) == {"name", "options", "distribution"}
    assert identity("plain:frozen=false") == identity("plain:first=none") == plain
    others = [
        "plain:frozen=true",
        "plain:first=frame/dct",
        "plain:first=frame/dct:frozen=true",
        "plain:first=frame/haar",
        "plain:first='frame/dct:color=channels'",
    ]
    everything = [plain, *map(identity, others)]
    assert all(everything.count(one) == 1 for one in everything)
    options = resolve_model(registry, others[2]).options
    assert options == {"channels": 6, "first": "frame/dct", "frozen": True}


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.FlatProfileWarning")  # of the beginning
def test_runs_with_filters_are_cached(registry, fresh_cache):
    options = {"recipe": rs.Recipe(batch=10, steps=2), "seeds": 1, "registry": registry}
    options["scheduler"] = "local:1"
    specs = ["linear_cnn", "linear_cnn:first=frame/dct", "linear_cnn:first=frame/pca"]
    ids = [rs.compare(specs, IMAGES, **options).run_id.values.ravel().tolist() for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


def test_filters_of_a_file_are_used_and_such_runs_have_no_key(registry, tmp_path):
    torch.manual_seed(3)
    theirs = small_cnn(5, 3, widths=(8,)).requires_grad_(False)
    torch.save(theirs.state_dict(), tmp_path / "net.pt")
    spec = f"plain:first='checkpoint:path={tmp_path}/net.pt'"
    with pytest.warns(RepsimWarning, match="2 are left out"):
        net = resolve_model(registry, spec).build(2, 3, IMAGES)
    assert cosine(first_conv(net).weight, theirs[0].weight[:6].double()) == pytest.approx(
        1, abs=1e-5
    )
    assert resolve_model(registry, spec).identity is None


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("plain:first=frame/dtc", UsageError, "did you mean 'dct'"),
        ("plain:first=frmae/dct", UsageError, "unknown model"),
        ("plain:first='frame/dct:eps=1'", UsageError, "option of frame 'dct' 'eps'"),
        ("plain:first='frame/dct:patch=5'", ShapeError, r"expected \(3, 3, 3\)"),
        ("plain:first='frame/dct:patch=x'", UsageError, "got patch=x"),
        ("plain:first='frame/dct:filters=4'", UsageError, "4 filters for the 6 of layer '0'"),
        ("plain:first='frame/dct:train=all'", UsageError, "trained here, expected filters"),
        ("plain:first=linear", UsageError, "trained here, expected filters"),
        ("plain:first=", UsageError, "expected NAME"),
        ("plain:frozen=maybe", UsageError, "got 'maybe', expected bool"),
        ("linear:first=frame/dct", UsageError, r"'1' \(Linear\) is no plain convolution"),
        ("linear_cnn:sigma=0:first=frame/dct", UsageError, "another sigma="),
        ("frame/dct:first=frame/haar", UsageError, "trained already"),
        ("frame/dct:frozen=true", UsageError, "trained already"),
    ],
)
def test_bad_input_is_refused_in_one_line(registry, spec, error, message):
    with pytest.raises(error, match=message) as caught:
        built(registry, spec)
    assert "\n" not in str(caught.value)


def test_a_layer_with_groups_is_refused(registry):
    with pytest.raises(rs.UsageError, match="weights '3.weight'|no plain convolution"):
        rs.compare(["grouped:first=frame/dct"], IMAGES, registry=registry)


def test_the_options_are_described_for_every_architecture(registry):
    for name in ("plain", "vgg11", "torchvision/resnet18"):
        meanings = {one.name: one.meaning for one in describe(registry, "model", name)[1]}
        assert "such as frame/dct" in meanings["first"]
        assert meanings["frozen"]


@pytest.mark.parametrize(
    "spec", ["vgg11:width=0.1:first=frame/gabor", "linear_cnn:first=frame/pca"]
)
def test_an_architecture_with_a_frame_keeps_the_rules(registry, spec):
    model = resolve_model(registry, spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        assert all(one.problem is None for one in check_model(model.build, name=spec))


def test_a_plugin_with_a_frame_travels_to_other_processes(registry):
    model = resolve_model(registry, "plain:first=frame/whitening:frozen=true")
    again = pickle.loads(pickle.dumps(model.build))
    nets = []
    for build in (model.build, again):
        torch.manual_seed(0)
        with pytest.warns(RepsimWarning, match="left out"):
            nets.append(build(2, 3, IMAGES))
    for one, other in zip(*(net.state_dict().values() for net in nets), strict=True):
        assert torch.equal(one, other)
