"""Images that maximize activations: closed forms, invariances, and what is refused."""

import random
import re
import warnings

import numpy as np
import pytest
import torch
from samples import LEAVES, RECIPE, TINY, Net, noise_images, small_cnn
from torch import nn
from torch.nn.functional import cosine_similarity

import repsim_energy as rs
from repsim_energy.models.architectures.linear_cnn import linear_cnn
from repsim_energy.visualization.canvas import PARAMETRIZATIONS, canvas_of
from repsim_energy.visualization.target import unit_axis

pytestmark = pytest.mark.filterwarnings("ignore:the images found for unit:UserWarning")

FREE = {"jitter": 0, "total_variation": 0.0}
"""No priors."""

QUICK = {"steps": 8}
"""Too few steps for a good image, where the image is not what is tested."""


@pytest.fixture
def images():
    return noise_images(40, (3, 12, 12))


def conv_net(*, seed=0, size=5, channels=3, units=4, **options):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(channels, units, size, padding=size // 2, **options), nn.ReLU())


def of(result):
    """The images of a result as a float64 tensor."""
    return torch.from_numpy(result.image.values).double()


def at_the_center(filters, size):
    """Filters (k, c, h, w) in images of 0 where the central output of a padded layer sees them."""
    placed = torch.zeros(*filters.shape[:2], size, size, dtype=torch.float64)
    kh, kw = filters.shape[2:]
    top, left = size // 2 - kh // 2, size // 2 - kw // 2
    placed[:, :, top : top + kh, left : left + kw] = filters.detach()
    return placed


def cosines(a, b):
    """Cosine of each image with another, after their means are subtracted."""
    a, b = ((x - x.mean((1, 2, 3), keepdim=True)).flatten(1) for x in (a, b))
    return cosine_similarity(a, b)


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_the_image_of_a_linear_filter_is_the_filter(images, parametrization, size):
    net = nn.Sequential(nn.Conv2d(3, 4, size, padding=size // 2))
    result = rs.maximize_activation(
        net, "0", "all", images, parametrization=parametrization, norm=2.0, **FREE
    )
    assert cosines(of(result), at_the_center(net[0].weight, 12)).min() > 0.99
    lengths = (of(result) - 0.5).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 2.0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_the_image_of_a_linear_feature_is_its_weight(parametrization):
    images = noise_images(40, (1, 7, 9))
    net = nn.Sequential(nn.Flatten(), nn.Linear(63, 3))
    result = rs.maximize_activation(
        net, "output", "all", images, parametrization=parametrization, norm=1.0, **FREE
    )
    assert cosines(of(result), net[1].weight.double().view(3, 1, 7, 9)).min() > 0.99
    assert result.attrs["position"] == ""  # there are none


def test_the_mean_over_positions_of_a_circular_filter_is_maximal_for_one_color(images):
    """It is the sum of each channel's weights times the mean of the channel."""
    net = conv_net(padding_mode="circular")
    result = rs.maximize_activation(
        net, "0", "all", images, position="mean", parametrization="pixels", norm=2.0, **FREE
    )
    color = net[0].weight.double().sum((2, 3), keepdim=True).expand(-1, -1, 12, 12)
    flat = cosine_similarity((of(result) - 0.5).flatten(1), color.detach().flatten(1))
    assert flat.min() > 0.99


def test_the_range_of_pixels_makes_a_linear_filter_black_and_white(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    result = rs.maximize_activation(
        net, "0", "all", images, parametrization="pixels", steps=2000, **FREE
    )
    seen = at_the_center(net[0].weight, 12)
    strong = seen.abs() > 0.02
    assert ((of(result)[strong] > 0.5) == (seen[strong] > 0)).all()
    assert (of(result)[strong] - 0.5).abs().min() > 0.4


@pytest.mark.parametrize("factor", [2.0**-10, 3.7, 2.0**12])
def test_the_scale_of_a_layer_changes_no_image(images, factor):
    net = conv_net()
    before = rs.maximize_activation(net, "1", "all", images, steps=60)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= factor
    after = rs.maximize_activation(net, "1", "all", images, steps=60)
    np.testing.assert_allclose(after.image, before.image, atol=2e-3)
    np.testing.assert_allclose(after.activation, factor * before.activation, rtol=2e-3)


def test_the_normalization_is_applied_inside(images):
    """A network that gets (x - m) / s responds most to its filter over s, in its channel order."""
    net = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2))
    std = (0.1, 0.3, 0.9)
    for order in ("rgb", "bgr"):
        model = rs.TrainedModel(
            net, normalization=rs.Normalization((0.4,) * 3, std), channels=order
        )
        result = rs.maximize_activation(model, "0", "all", images, norm=1.0, **FREE)
        filters = net[0].weight.flip(1) if order == "bgr" else net[0].weight
        expected = at_the_center(filters / torch.tensor(std).view(3, 1, 1), 12)
        assert cosines(of(result), expected).min() > 0.99
        with torch.no_grad():
            pixels = (torch.from_numpy(result.image.values) - 0.4) / torch.tensor(std).view(3, 1, 1)
            maps = net(pixels.flip(1) if order == "bgr" else pixels)
        np.testing.assert_allclose(result.activation, maps[range(4), range(4), 6, 6], rtol=1e-5)


def test_a_run_is_repeated_bit_for_bit(images):
    net = small_cnn(3, 3, widths=(6, 8), dropout=0.5)
    first, again = (rs.maximize_activation(net, "2", "all", images, steps=20) for _ in "ab")
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.activation, again.activation)


def test_starts_differ_only_in_what_remains_free(images):
    """A 5x5 filter at the center decides 75 numbers; without a prior the others stay noise."""
    net = conv_net()
    one, other = (
        of(
            rs.maximize_activation(
                net, "0", "all", images, start=s, parametrization="pixels", steps=1500, **FREE
            )
        )
        for s in (0, 1)
    )
    seen = at_the_center(torch.ones(4, 3, 5, 5), 12) > 0
    weights = at_the_center(net[0].weight, 12).abs()
    decided = seen & (weights > 0.01)
    assert (one - other)[decided].abs().max() < 0.05
    assert (one - other)[~seen].abs().mean() > 0.05


def test_a_unit_does_not_depend_on_the_units_beside_it(images):
    net = conv_net()
    together = rs.maximize_activation(net, "1", "all", images, steps=40)
    alone = rs.maximize_activation(net, "1", 2, images, steps=40)
    np.testing.assert_allclose(alone.image[0], together.image.sel(unit=2), atol=1e-4)
    some = rs.maximize_activation(net, "1", [3, 1], images, steps=40)
    assert some.unit.values.tolist() == [3, 1]
    np.testing.assert_allclose(some.image[1], together.image.sel(unit=1), atol=1e-4)


def test_more_units_than_a_batch_are_all_maximized(images):
    net = conv_net(units=37)
    result = rs.maximize_activation(net, "0", "all", images, **QUICK)
    assert result.sizes["unit"] == 37
    assert (result.activation > result.image_activation).sum() > 30


def test_total_variation_makes_images_smoother(images):
    net = small_cnn(3, 3, widths=(6, 8, 8))

    def roughness(weight):
        result = rs.maximize_activation(
            net, "4", "all", images, steps=60, jitter=0, total_variation=weight
        )
        return float(np.abs(np.diff(result.image, axis=2)).mean())

    rough, smooth, smoother = map(roughness, (0.0, 10.0, 100.0))
    assert rough > 1.5 * smooth > 2 * smoother


def test_jitter_turns_the_image_of_a_filter_into_the_mean_of_its_shifts(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    result = rs.maximize_activation(
        net, "0", "all", images, norm=2.0, steps=3000, jitter=1, total_variation=0.0
    )
    placed = at_the_center(net[0].weight, 12)
    shifted = [placed.roll((y, x), (2, 3)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert cosines(of(result), sum(shifted)).min() > 0.97


class Dead(nn.Module):
    """A convolution whose unit 1 is always below 0, and whose unit 2 sees bright images alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True)
        with torch.no_grad():
            self.conv.bias[1] = -100.0
            self.conv.weight[2], self.conv.bias[2] = 1.0, -27 * 0.8

    def forward(self, images):
        return self.relu(self.conv(images))


@pytest.fixture
def dead():
    return rs.TrainedModel(Dead(), normalization=rs.Normalization((0.0,) * 3, (1.0,) * 3))


def test_a_unit_that_nothing_activates_is_named(images, dead):
    with pytest.warns(rs.RepsimWarning, match="no image activates unit 1 of layer 'relu'") as said:
        result = rs.maximize_activation(dead, "relu", [0, 1, 3], images, **QUICK)
    assert len(said) == 1
    assert np.isnan(result.image.sel(unit=1)).all()
    assert np.isnan(result.activation.sel(unit=1))
    assert result.image_activation.sel(unit=1) == 0
    assert result.image.sel(unit=[0, 3]).notnull().all()
    assert (result.activation.sel(unit=[0, 3]) > 0).all()
    with pytest.raises(
        rs.RepsimError, match=r"no image activates unit 1 .*a layer before the ReLU"
    ):
        rs.maximize_activation(dead, "relu", 1, images)
    before = rs.maximize_activation(dead, "conv", 1, images, steps=200, **FREE)
    assert np.isfinite(before.activation).all()  # before the ReLU there is a maximum


def test_a_unit_that_noise_does_not_activate_begins_with_an_image(dead):
    """Mid-gray noise is below the threshold of unit 2; one of the images is above it."""
    images = noise_images(40, (3, 12, 12))
    images.images[7] = 250
    result = rs.maximize_activation(dead, "relu", 2, images, steps=100)
    seen = of(result)[0, :, 5:8, 5:8]
    assert float(result.activation[0]) > float(result.image_activation[0]) - 0.1 * 27 * 0.2
    assert seen.mean() > 0.9


def test_a_unit_without_weights_is_silent_whatever_its_bias(images):
    net = conv_net()
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 0.0, 5.0
    with pytest.warns(rs.RepsimWarning, match="unit 2 of layer '0'"):
        rs.maximize_activation(net, "0", "all", images, **QUICK)


def test_an_image_that_is_worse_than_a_start_is_reported(images):
    net = conv_net()
    with pytest.warns(rs.RepsimWarning, match=r"units? .* of layer '0' activate less .*total_vari"):
        rs.maximize_activation(net, "0", "all", images, total_variation=1e6)


def test_numbers_that_are_not_finite_are_refused(images):
    net = conv_net()
    with torch.no_grad():
        net[0].weight[2] = torch.nan
    with pytest.raises(rs.UsageError, match=r"layer '0' returns NaN or infinite .*\(unit 2\)"):
        rs.maximize_activation(net, "0", "all", images)
    rs.maximize_activation(net, "0", [0, 1], images, **QUICK)


def snapshot(net):
    return {
        "state": {name: tensor.clone() for name, tensor in net.state_dict().items()},
        "modes": [module.training for module in net.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
        "objects": [id(tensor) for tensor in (*net.parameters(), *net.buffers())],
        "needs": [parameter.requires_grad for parameter in net.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
    }


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_it_was(images, fails):
    net = small_cnn(3, 3, widths=(6, 8), norm=True, dropout=0.5)
    net[0].weight.requires_grad_(False)
    net.train()
    net[1].eval()
    net(torch.rand(4, 3, 12, 12)).sum().backward()
    before = snapshot(net)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    if fails:
        net[0].weight.data[0] = torch.nan
        before = snapshot(net)
        with pytest.raises(rs.UsageError, match="NaN"):
            rs.maximize_activation(net, "4", "all", images)
    else:
        rs.maximize_activation(net, "4", "all", images, **QUICK)
    after = snapshot(net)
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


def test_settings_of_the_caller_change_nothing(images):
    net = conv_net()
    plain = rs.maximize_activation(net, "0", 0, images, **QUICK)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        odd = rs.maximize_activation(net, "0", 0, images, **QUICK)
    with torch.inference_mode():
        other = rs.maximize_activation(net, "0", 0, images, **QUICK)
    np.testing.assert_array_equal(plain.image, odd.image)
    np.testing.assert_array_equal(plain.image, other.image)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("shape", [(3, 12, 12), (1, 7, 9), (2, 8, 5)])
@pytest.mark.parametrize("norm", [None, 2.0])
def test_a_canvas_can_show_every_image(parametrization, shape, norm):
    images = noise_images(30, shape)
    canvas = canvas_of(parametrization, images, 0, norm)
    pixels = 0.1 + 0.8 * images.images[:5] / 255
    if norm is not None:
        pixels = 0.5 + norm * nn.functional.normalize((pixels - 0.5).flatten(1)).view_as(pixels)
    shown = canvas.images(canvas.parameters_of(pixels))
    torch.testing.assert_close(shown, pixels, rtol=0, atol=1e-4)


@pytest.mark.parametrize("parametrization", ["fourier", "natural"])
def test_spectra_of_starts_fall_with_the_frequency(parametrization):
    canvas = canvas_of(parametrization, noise_images(30, (3, 32, 32)), 0, None)
    noise = canvas.images(canvas.start(200, torch.Generator().manual_seed(0)))
    power = torch.fft.rfft2(torch.logit(noise)).abs().square().mean((0, 1))
    for low, high in ((1, 2), (2, 4), (3, 12)):
        expected = (high / low) ** 2
        assert power[0, low] / power[0, high] == pytest.approx(expected, rel=0.25)


def test_images_are_in_the_range_of_the_pixels(images):
    net = conv_net()
    of_bytes = rs.maximize_activation(net, "0", "all", images, **QUICK)
    assert of_bytes.pixel_range.values.tolist() == [0, 1]
    floats = rs.ImageSet(images.images * 0.1 - 7, images.labels, images.classes, "floats")
    result = rs.maximize_activation(net, "0", "all", floats, steps=200, **FREE)
    low, high = result.pixel_range.values.tolist()
    assert (low, high) == pytest.approx((-7, 18.5), abs=1e-5)
    assert low <= result.image.min() < low + 5
    assert high - 5 < result.image.max() <= high


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_than_three_channels(channels):
    images = noise_images(30, (channels, 9, 11))
    net = conv_net(channels=channels, size=3)
    result = rs.maximize_activation(net, "0", "all", images, norm=1.0, **FREE)
    assert result.image.shape == (4, channels, 9, 11)
    placed = torch.zeros(4, channels, 9, 11, dtype=torch.float64)
    placed[:, :, 3:6, 4:7] = net[0].weight.detach()
    assert cosines(of(result), placed).min() > 0.99


def test_filters_alone_are_visualized_as_a_layer(images, rng):
    bank = torch.randn(5, 3, 3, 3, generator=rng)
    result = rs.maximize_activation(bank, dataset=images, norm=1.0, **FREE)
    seen = of(result)[:, :, 4:7, 4:7] - 0.5  # the central output of 10x10, without padding
    assert cosine_similarity(seen.flatten(1), bank.double().flatten(1)).min() < 0.5
    seen = of(result)[:, :, 5:8, 5:8] - 0.5
    assert cosine_similarity(seen.flatten(1), bank.double().flatten(1)).min() > 0.99


def test_a_frame_by_name(images):
    result = rs.maximize_activation("frame/gabor:patch=5", "first", [0, 1], images, **QUICK)
    assert result.image.shape == (2, 3, 12, 12)


def test_filters_of_a_plugin(tmp_path, images):
    plugin = tmp_path / "banks.py"
    plugin.write_text(
        "import torch, repsim_energy as rs\n"
        "def bars(num_classes, in_channels):\n"
        "    conv = torch.nn.Conv2d(in_channels, 2, 3, bias=False)\n"
        "    conv.weight.data = torch.eye(3).repeat(2, in_channels, 1, 1)\n"
        "    conv.weight.data[1] = -conv.weight.data[1]\n"
        "    return rs.TrainedModel(torch.nn.Sequential(conv), network=False)\n"
        "@rs.hookimpl\n"
        "def repsim_models():\n"
        "    return {'bars': bars}\n"
    )
    registry = rs.load_registry([plugin])
    result = rs.maximize_activation(
        "bars", "first", "all", images, registry=registry, norm=1.0, **FREE
    )
    seen = of(result)[:, :, 5:8, 5:8] - 0.5
    assert (seen[0].diagonal(dim1=1, dim2=2) > 0.3).all()
    assert (seen[1].diagonal(dim1=1, dim2=2) < -0.3).all()


def test_a_network_trained_by_name_is_the_one_of_compare(fresh_cache):
    compared = rs.compare(TINY, LEAVES, seeds=[3], recipe=RECIPE)
    runs = {path.name for path in (fresh_cache / "runs").rglob("*") if path.is_dir()}
    result = rs.maximize_activation(
        TINY, "first", "all", LEAVES, seed=3, recipe=RECIPE, norm=1.0, **FREE
    )
    assert runs == {path.name for path in (fresh_cache / "runs").rglob("*") if path.is_dir()}
    trained = rs.open_run(str(compared.run_id.values.ravel()[0])).filters["trained"]
    assert result.attrs["network"].endswith("seed 3")
    kh, kw = trained.shape[2:]
    best = max(
        cosines(of(result)[:, :, y : y + kh, x : x + kw], trained.double()).min()
        for y in range(12, 18)
        for x in range(12, 18)
    )
    assert best > 0.99
    rs.maximize_activation(TINY, "first", 0, LEAVES, seed=4, recipe=RECIPE, **QUICK)
    assert len({p.name for p in (fresh_cache / "runs").rglob("*") if p.is_dir()}) > len(runs)


def test_the_filters_in_a_file_of_weights(tmp_path, images):
    """The file names no architecture, so that its first layer is all that can be run."""
    net = small_cnn(3, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    result = rs.maximize_activation(tmp_path / "net.pt", dataset=images, norm=1.0, **FREE)
    seen = of(result)[:, :, 5:8, 5:8] - 0.5
    weight = net[0].weight.detach().double()
    assert cosine_similarity(seen.flatten(1), weight.flatten(1)).min() > 0.99
    (tmp_path / "net.pt").replace(tmp_path / "2.pt")
    with pytest.raises(rs.UsageError, match="unknown layer"):
        rs.maximize_activation(tmp_path / "2.pt", "5", dataset=images)


def test_a_checkpoint_with_its_architecture(tmp_path):
    torch.save(linear_cnn(4, 3, filters=6).state_dict(), tmp_path / "net.pt")
    model = rs.write_spec("checkpoint", path=tmp_path / "net.pt", arch="linear_cnn", filters=6)
    images = noise_images(40, (3, 12, 12), classes=4)
    result = rs.maximize_activation(model, "output", [0, 3], images, **QUICK)
    assert result.image.shape == (2, 3, 12, 12)


def test_the_call_in_a_result_makes_it_again(images):
    result = rs.maximize_activation("frame/dct", units=[1, 4], dataset=LEAVES, steps=5)
    assert "units=[1, 4]" in result.attrs["command"]
    scope = {}
    exec(result.attrs["command"], scope)
    np.testing.assert_array_equal(scope["result"].image, result.image)


def two_heads(net, images):
    maps = net.conv(images)
    return {"logits": maps.mean((2, 3)), "maps": maps}


def test_a_layer_with_several_outputs(images):
    net = Net(two_heads, conv=nn.Conv2d(3, 5, 3))
    with pytest.raises(rs.UsageError, match=r"logits \(2, 5\).*write 'output\[ENTRY\]'"):
        rs.maximize_activation(net, "output", 0, images)
    result = rs.maximize_activation(net, "output[logits]", "all", images, **QUICK)
    assert result.sizes["unit"] == 5


class Tokens(nn.Module):
    """A network whose layers return (n, positions, features)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.mix, self.gelu = nn.Linear(6, 7), nn.GELU()

    def forward(self, images):
        return self.gelu(self.mix(self.patches(images).flatten(2).transpose(1, 2)))


def test_the_axis_of_units_is_found_or_asked_for(images):
    net = Tokens()
    assert rs.maximize_activation(net, "mix", "all", images, **QUICK).sizes["unit"] == 7
    with pytest.raises(rs.UsageError, match=r"\(n, 9, 7\), .* axis 1 \(9 units\) or axis 2 \(7"):
        rs.maximize_activation(net, "gelu", "all", images)
    chosen = rs.maximize_activation(net, "gelu", "all", images, axis=2, **QUICK)
    assert chosen.sizes["unit"] == 7
    with pytest.raises(rs.UsageError, match="axis=3, but layer 'gelu' .* from 1 to 2"):
        rs.maximize_activation(net, "gelu", "all", images, axis=3)


@pytest.mark.parametrize(
    ("shape", "image", "axis"),
    [
        ((2, 8, 5, 5), (10, 10), 1),
        ((2, 5, 5, 8), (10, 10), 3),
        ((2, 512, 1, 1), (32, 32), 1),
        ((2, 6, 4, 3), (12, 10), 1),
        ((2, 40), (12, 10), 1),
    ],
)
def test_maps_have_the_proportions_of_the_image(shape, image, axis):
    assert unit_axis(nn.ReLU(), shape, image, "x") == axis


def test_maps_that_could_be_either_are_refused():
    with pytest.raises(rs.UsageError, match="axis 1 .* or axis 3"):
        unit_axis(nn.ReLU(), (2, 8, 8, 8), (16, 16), "x")
    assert unit_axis(nn.Conv2d(3, 8, 1), (2, 8, 8, 8), (16, 16), "x") == 1


def one_relu_for_all(net, images):
    return net.relu(net.second(net.relu(net.first(images))))


def test_a_layer_that_is_not_used_once_is_refused(images):
    parts = {"first": nn.Conv2d(3, 4, 3), "second": nn.Conv2d(4, 4, 3), "relu": nn.ReLU()}
    net = Net(one_relu_for_all, **parts, idle=nn.Conv2d(4, 4, 3))
    with pytest.raises(rs.UsageError, match=r"'relu' is used several times .* one with layer=$"):
        rs.maximize_activation(net, "relu", 0, images)
    with pytest.raises(rs.UsageError, match=r"'idle' is not used .* one with layer=$"):
        rs.maximize_activation(net, "idle", 0, images)


def rounded(net, images):
    return net.pool(net.conv(images).detach())


def test_a_layer_without_gradient_is_refused(images):
    for total_variation in (0.0, 1.0):
        net = Net(rounded, conv=nn.Conv2d(3, 4, 3), pool=nn.Conv2d(4, 4, 1))
        with pytest.raises(rs.UsageError, match="no gradient passes from layer 'pool'"):
            rs.maximize_activation(net, "pool", 0, images, total_variation=total_variation)


REFUSED = {
    "layer": [
        ("featurs", "unknown layer"),
        ("convs", "stands for 2 layers (0, 2)"),
        ("", "layer=''"),
    ],
    "units": [
        (6, "layer '0' has 6, expected numbers from 0 to 5"),
        (-1, "units=-1"),
        ([1, 1], "units=1 twice"),
        ([], "units=[]"),
        ("some", "units='some'"),
        (1.5, "units=1.5"),
        (True, "units=True"),
        (range(3, 30), "6, 7, 8, 9, 10 and 19 more"),
    ],
    "position": [("edge", "unknown position 'edge'")],
    "parametrization": [("fourrier", "did you mean 'fourier'?")],
    "steps": [(0, "steps=0"), (1.5, "steps=1.5"), (None, "steps=None")],
    "jitter": [(-1, "jitter=-1"), ("2", "jitter=2")],
    "total_variation": [(-1, "total_variation=-1"), (float("nan"), "total_variation=nan")],
    "norm": [(0, "norm=0"), (float("inf"), "norm=inf")],
    "start": [(-1, "start=-1"), (2**63, f"start={2**63}")],
    "axis": [(0, "axis=0"), (4, "axis=4"), (True, "axis=True")],
    "output": [
        (5, "output=5"),
        ("sheet.gif", ".svg, .pdf, .png"),
        ("away/sheet.png", "cannot be written"),
    ],
    "seed": [(-1, "seeds [-1]"), ("a", "seeds ['a']")],
    "device": [("tpu9", "device 'tpu9'")],
    "model": [
        (["frame/dct", "frame/haar"], "got 2 models (frame/dct, frame/haar), expected one"),
        ("vgg12", "did you mean 'vgg1"),
    ],
}


@pytest.mark.parametrize(
    ("name", "value", "said"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_bad_input_is_refused_in_one_line(images, name, value, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {"model": small_cnn(3, 3, widths=(6, 8)), "layer": "0", "dataset": images}
    with pytest.raises(rs.UsageError, match=re.escape(said)) as refused:
        rs.maximize_activation(**arguments | {name: value})
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_several_data_sets_are_refused(images):
    other = noise_images(20, (3, 12, 12), name="other")
    with pytest.raises(rs.UsageError, match=r"2 data sets \(noise, other\), expected one"):
        rs.maximize_activation(small_cnn(2, 3), "0", 0, [images, other])


def test_a_typing_error_in_a_layer_names_its_neighbor(images):
    with pytest.raises(rs.UnknownNameError, match="did you mean 'relu'.*known: .*conv"):
        rs.maximize_activation(Dead(), "relo", 0, images)


def test_settings_of_a_training_that_does_not_happen_are_reported(images):
    with pytest.warns(rs.RepsimWarning, match="seed=3 and recipe= changed nothing"):
        rs.maximize_activation(conv_net(), "0", 0, images, seed=3, recipe="paper", **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.maximize_activation(conv_net(), "0", 0, images, **QUICK)


def test_a_network_that_fails_on_the_images_is_named(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2))
    with pytest.raises(rs.RepsimError, match=r"'Sequential' failed on the images .*another size"):
        rs.maximize_activation(net, "output", 0, images)
