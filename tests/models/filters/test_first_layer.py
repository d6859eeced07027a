"""The first layer is the one that receives the image, wherever it is registered."""

import copy

import pytest
import torch
from samples import Net, both_splits, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.filters.first_layer import first_layer, layers_with_weights
from repsim_energy.models.filters.layers import find_first_conv, read_filters

IMAGE = (3, 12, 12)


def conv(before, after, kernel=3, **options):
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **options)


class OwnConv(nn.Module):
    """A convolution that is no nn.Conv2d."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, images):
        return nn.functional.conv2d(images, self.kernels)


class Standardize(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))

    def forward(self, images):
        return (images - self.mean) / 0.25


FOUND = {
    "decoder registered first": (
        lambda: Net(
            lambda n, x: n.decoder(n.encoder(x)), decoder=conv(3, 3), encoder=conv(3, 3, bias=False)
        ),
        "encoder",
    ),
    "transposed decoder": (
        lambda: Net(
            lambda n, x: n.up(n.encoder(x).relu()),
            up=nn.ConvTranspose2d(4, 3, 3),
            encoder=conv(3, 4),
        ),
        "encoder",
    ),
    "auxiliary head first": (
        lambda: Net(
            lambda n, x: n.aux(n.stem(x)) + n.body(n.stem(x)),
            aux=conv(3, 2),
            body=conv(3, 2),
            stem=conv(3, 3),
        ),
        "stem",
    ),
    "wrapper": (
        lambda: Net(
            lambda n, x: n.head(n.body["stem"](x)),
            head=conv(3, 3),
            body=nn.ModuleDict({"late": conv(3, 3), "stem": nn.Sequential(conv(3, 3))}),
        ),
        "body.stem.0",
    ),
    "one stem, two views": (
        lambda: Net(
            lambda n, x: n.head(torch.cat([n.stem(x), n.stem(x.flip(3))], 1)),
            head=conv(8, 2),
            stem=conv(3, 4),
        ),
        "stem",
    ),
    "one stem, two names": (
        lambda: (lambda shared: Net(lambda n, x: n.b(n.a(x)), a=shared, b=shared))(conv(3, 3)),
        "a",
    ),
    "own normalization": (
        lambda: Net(
            lambda n, x: n.late(n.early(n.bn(n.norm(x)))),
            late=conv(3, 3),
            norm=Standardize(),
            bn=nn.BatchNorm2d(3),
            early=conv(3, 3),
        ),
        "early",
    ),
    "image again at the end": (
        lambda: Net(
            lambda n, x: n.last(torch.cat([n.stem(x), x], 1)), last=conv(6, 2), stem=conv(3, 3)
        ),
        "stem",
    ),
    "learned queries": (
        lambda: Net(
            lambda n, x: n.mix(n.query(torch.ones_like(x)) + n.stem(x)),
            query=conv(3, 4),
            mix=conv(4, 4),
            stem=conv(3, 4),
        ),
        "stem",
    ),
    "keywords": (
        lambda: Net(lambda n, x: n.b(input=n.a(input=x)), b=conv(3, 3), a=conv(3, 3)),
        "a",
    ),
    "unused": (lambda: Net(lambda n, x: n.b(x), a=conv(3, 3), b=conv(3, 3)), "b"),
    "in place": (
        lambda: Net(lambda n, x: n.b(n.a(x).relu_()), b=conv(3, 3), a=conv(3, 3)),
        "a",
    ),
    "half": (lambda: Net(lambda n, x: n.b(n.a(x)), b=conv(3, 3), a=conv(3, 3)).double(), "a"),
    "fails later": (
        lambda: Net(lambda n, x: n.b(n.a(x)).view(-1, 7), b=conv(3, 3), a=conv(3, 3)),
        "a",
    ),
    "single convolution": (lambda: conv(3, 4), ""),
}


@pytest.mark.parametrize(("build", "name"), FOUND.values(), ids=FOUND)
def test_the_layer_that_receives_the_image_is_found(build, name):
    torch.manual_seed(0)
    net = build()
    found, layer, *problems = first_layer(net, IMAGE)
    assert (found, problems) == (name, ["", ""])
    assert layer is net.get_submodule(name)


@pytest.mark.parametrize(
    "name", ["resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small"]
)
def test_families_register_their_first_layer_first(name):
    net = zoo(name, 10, 3)
    assert first_layer(net, (3, 32, 32))[0] == find_first_conv(net).name


SEVERAL = {
    "several stems": (
        lambda: Net(
            lambda n, x: n.head(n.left(x) + n.right(x)),
            head=conv(4, 2),
            left=conv(3, 4, 5),
            right=conv(3, 4),
        ),
        ("left", "'left' (Conv2d, 4 filters 5x5x3), 'right' (Conv2d, 4 filters 3x3x3)"),
    ),
    "shortcut": (
        lambda: Net(lambda n, x: n.conv(x) + n.short(x), conv=conv(3, 4), short=conv(3, 4, 1)),
        ("conv", "'conv' (Conv2d, 4 filters 3x3x3), 'short' (Conv2d, 4 filters 1x1x3)"),
    ),
    "pyramid": (
        lambda: Net(
            lambda n, x: n.fine(x).mean() + n.coarse(nn.functional.avg_pool2d(x, 2)).mean(),
            fine=conv(3, 4),
            coarse=conv(3, 4),
        ),
        ("fine", "'fine' (Conv2d, 4 filters 3x3x3), 'coarse' (Conv2d, 4 filters 3x3x3)"),
    ),
}


@pytest.mark.parametrize(("build", "found"), SEVERAL.values(), ids=SEVERAL)
def test_several_layers_that_receive_the_image_are_named(build, found):
    name, _, problem, several = first_layer(build(), IMAGE)
    assert (name, several, problem) == (*found, "")


FOUND_ELSE = {
    "space to depth": (lambda: nn.Sequential(nn.PixelUnshuffle(2), conv(12, 4)), "1"),
    "linear first": (
        lambda: Net(
            lambda n, x: n.conv(n.mix(x.movedim(1, 3)).movedim(3, 1)),
            conv=conv(3, 4),
            mix=nn.Linear(3, 3),
        ),
        "mix",
    ),
    "own convolution": (lambda: nn.Sequential(OwnConv(), conv(4, 4)), "0"),
    "transposed first": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 3, 3), conv(3, 4)), "0"),
    "no convolution": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), "1"),
    "recurrent": (lambda: Net(lambda n, x: n.rnn(x.flatten(2))[0], rnn=nn.GRU(144, 4)), "rnn"),
    "places of its own before": (
        lambda: Net(
            lambda n, x: n.conv(x + n.place), conv=conv(3, 4), place=nn.Parameter(torch.ones(IMAGE))
        ),
        "conv",
    ),
}


@pytest.mark.parametrize(("build", "name"), FOUND_ELSE.values(), ids=FOUND_ELSE)
def test_a_layer_of_any_class_that_receives_the_image_is_found(build, name):
    net = build()
    assert first_layer(net, IMAGE) == (name, net.get_submodule(name), "", "")


OWN_MATRICES = {
    "patches": lambda: Net(
        lambda n, x: n.block(nn.functional.unfold(x, 4, stride=4).mT @ n.matrix),
        block=nn.Linear(6, 6),
        matrix=nn.Parameter(torch.randn(48, 6)),
    ),
    "kernels": lambda: Net(
        lambda n, x: n.conv(nn.functional.conv2d(x, n.kernels)),
        conv=conv(3, 4),
        kernels=nn.Parameter(torch.randn(3, 3, 3, 3)),
    ),
    "the weights of a layer that is not called": lambda: Net(
        lambda n, x: n.fc(
            nn.functional.linear(
                nn.functional.unfold(x, 4, stride=4).mT, n.matrix.weight.flatten(1)
            ).mean(1)
        ),
        matrix=conv(3, 4, 4),
        fc=nn.Linear(4, 3),
    ),
    "a fixed mask": lambda: Net(
        lambda n, x: n.conv(x * n.mask),
        conv=conv(3, 4),
        mask=nn.Buffer(torch.rand(12, 12)),
    ),
}


@pytest.mark.parametrize("build", OWN_MATRICES.values(), ids=OWN_MATRICES)
def test_a_network_that_multiplies_the_image_itself_is_refused_with_its_tensor(build):
    """The next layer would be read as if it received the image."""
    torch.manual_seed(0)
    net = build()
    state = copy.deepcopy(net.state_dict())
    with pytest.raises(
        UsageError, match=r"own tensor '(matrix|matrix.weight|kernels|mask)'"
    ) as error:
        first_layer(net, IMAGE)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("net", "problem"),
    [
        (nn.Sequential(nn.ReLU(), nn.Flatten()), "none of its layers is called"),
        (Net(lambda n, x: n.fc(x.view(-1, 5)), fc=nn.Linear(5, 4)), "invalid for input of size"),
    ],
)
def test_a_network_without_a_layer_that_receives_the_image_is_refused(net, problem):
    with pytest.raises(
        UsageError, match=f"no layer that receives 12x12x3 images.*{problem}"
    ) as error:
        first_layer(net, IMAGE)
    assert "\n" not in str(error.value)


def test_layers_are_innermost_modules_that_hold_matrices():
    net = nn.Sequential(
        Standardize(),
        nn.BatchNorm2d(3),
        nn.Sequential(OwnConv(), nn.PReLU()),
        nn.LayerNorm([4, 4]),
        nn.utils.parametrizations.weight_norm(conv(4, 4)),
        nn.GRU(4, 4),
    )
    assert list(layers_with_weights(net)) == ["2.0", "4", "5"]


def test_the_state_of_a_network_is_restored_after_the_search():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm = nn.utils.spectral_norm(conv(3, 3)), nn.BatchNorm2d(3)
            self.drop, self.seen = nn.Dropout(0.5), []
            self.register_buffer("count", torch.zeros(1))

        def forward(self, images):
            self.count += 1
            self.seen.append(len(images))
            self.stem.bias.data.clamp_(-0.01, 0.01)
            torch.rand(3)
            return self.drop(self.norm(self.stem(images)))

    torch.manual_seed(0)
    net = Noisy().train()
    net.drop.eval()
    net(torch.rand(2, *IMAGE)).sum().backward()
    with torch.no_grad():
        net.stem.bias.fill_(3)
    state, gradients = copy.deepcopy(net.state_dict()), [p.grad for p in net.parameters()]
    modes, random = [m.training for m in net.modules()], torch.get_rng_state()
    stale, seen = net.stem.weight, list(net.seen)
    assert first_layer(net, IMAGE)[0] == "stem"
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(a is b.grad for a, b in zip(gradients, net.parameters(), strict=True))
    assert [m.training for m in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert net.stem.weight is stale
    assert net.seen == seen
    assert not any(m._forward_hooks for m in net.modules())


def test_a_comparison_uses_that_layer_and_records_its_name(pictures):
    net = FOUND["decoder registered first"][0]()
    result = rs.compare({"ae": net}, pictures, stage="trained", seeds=1)
    assert result.first_layer.values.tolist() == ["encoder"]
    alone = rs.compare([read_filters(net.encoder)], pictures, stage="trained", seeds=1)
    assert (result.energy.values == alone.energy.values).sum() == 27
    named = rs.compare([rs.TrainedModel(net, "decoder")], pictures, stage="trained", seeds=1)
    assert named.first_layer.values.tolist() == ["decoder"]


def two_stems(num_classes, in_channels):
    return Net(
        lambda n, x: n.head((n.left(x) + n.right(x)).mean((2, 3))),
        head=nn.Linear(4, num_classes),
        left=conv(in_channels, 4),
        right=conv(in_channels, 4),
    )


def test_with_several_stems_one_has_to_be_named(pictures):
    net = two_stems(3, 3)
    with pytest.raises(UsageError, match="'left'.*'right'"):
        rs.compare({"net": net}, pictures, seeds=1)
    recipe = rs.Recipe(lr=0.05, batch=20, steps=2, snapshots=0)
    with pytest.warns(RepsimWarning, match="'left'.*'right'.*'left' is compared"):
        result = rs.compare([two_stems], pictures, seeds=1, recipe=recipe)
    assert result.first_layer.values.tolist() == ["left"]
    result = rs.compare({"net": rs.TrainedModel(net, "right")}, pictures, seeds=1)
    assert result.first_layer.values.tolist() == ["right"]


def test_of_a_network_that_fails_the_first_registered_layer_is_used_with_a_warning(pictures):
    net = Net(lambda n, x: n.a(x.view(-1, 5)), b=conv(3, 3), a=conv(3, 3))
    with pytest.warns(RepsimWarning, match=r"cannot be run.*registers, 'b'.*layer="):
        result = rs.compare({"net": net}, pictures, stage="trained", seeds=1)
    assert result.first_layer.values.tolist() == ["b"]


def test_architectures_are_trained_with_the_layer_that_receives_the_image(pictures):
    def network(num_classes, in_channels):
        return Net(
            lambda n, x: n.head(n.late(n.early(x)).mean((2, 3))),
            late=conv(3, 4),
            head=nn.Linear(4, num_classes),
            early=conv(in_channels, 3),
        )

    recipe = rs.Recipe(lr=0.05, batch=20, steps=3, snapshots=2)
    result = rs.compare([network, small_cnn], pictures, recipe=recipe, seeds=1)
    assert result.first_layer.values.tolist() == ["early", "0"]
    activations = rs.compare(
        [network], both_splits(pictures), "cka", layers=["first", "early"], seeds=1, recipe=recipe
    )
    assert float(
        activations.similarity.sel(layer="first", layer_ref="early").squeeze()
    ) == pytest.approx(1)
