"""LeNet-5: the layers, connections, initial weights and numbers of weights of the publication."""

import itertools
import math

import pytest
import torch
from samples import both_splits, noise_images
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import ShapeError
from repsim_energy.models.architectures.lenet import Squash, Subsampling, connection_table, lenet5
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.first_layer import first_layer

TABLE_I = """
X...XXX..XXXX.XX
XX...XXX..XXXX.X
XXX...XXX..X.XXX
.XXX..XXXX..X.XX
..XXX..XXXX.XX.X
...XXX..XXXX.XXX
"""
"""LeCun et al. (1998), Table I: a row for each map of S2, a column for each map of C3."""

PARAMETERS = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
"""Trainable parameters of the layers (ibid., section II-B)."""


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_maps_of_c3_are_connected_as_in_table_i():
    rows = TABLE_I.split()
    published = torch.tensor([[mark == "X" for mark in row] for row in rows]).T
    assert torch.equal(connection_table(), published)


def test_the_connections_follow_the_text_of_the_publication():
    """Six contiguous triples, six contiguous quadruples, three other quadruples and all maps."""
    sets = [frozenset(row.nonzero().flatten().tolist()) for row in connection_table()]
    circle = [[(i + j) % 6 for j in range(6)] for i in range(6)]
    assert set(sets[:6]) == {frozenset(part[:3]) for part in circle}
    quadruples = {frozenset(part[:4]) for part in circle}
    assert set(sets[6:12]) == quadruples
    assert len(set(sets[12:15]) - quadruples) == 3
    assert [len(members) for members in sets] == [3] * 6 + [4] * 9 + [6]


def test_the_table_is_stretched_for_other_numbers_of_maps():
    double = connection_table(12, 32)
    assert torch.equal(double, connection_table().repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(double[::2, ::2], connection_table())
    for before, after in itertools.product((1, 2, 5, 6, 7, 9, 200), (1, 2, 3, 16, 17, 40)):
        table = connection_table(before, after)
        assert table.shape == (after, before)
        assert table.any(0).all(), "every map of S2 is used"
        assert table.any(1).all(), "every map of C3 has an input"


def test_layers_have_the_published_numbers_of_parameters():
    net = lenet5(10, 1)
    assert {name: count(net.get_submodule(name)) for name in PARAMETERS} == PARAMETERS
    assert count(net) - count(net.classifier) == sum(PARAMETERS.values()) == 60_000
    assert count(lenet5(10, 3).c1) == 6 * (3 * 25 + 1)


def test_layers_have_the_published_sizes():
    maps, sizes = torch.rand(2, 1, 28, 28), {}
    for name, layer in lenet5(10, 1).named_children():
        maps = layer(maps)
        sizes[name] = tuple(maps.shape[1:])
    expected = {
        "pad": (1, 32, 32),
        "c1": (6, 28, 28),
        "s2": (6, 14, 14),
        "c3": (16, 10, 10),
        "s4": (16, 5, 5),
        "c5": (120, 1, 1),
        "f6": (84,),
    }
    assert {name: sizes[name] for name in expected} == expected


def test_squashing_is_its_formula():
    """f(1) = 1 and f(-1) = -1, with horizontal asymptotes at 1.7159 and -1.7159."""
    squash = Squash()
    values = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = [1.7159 * math.tanh(2 / 3 * float(a)) for a in values]
    torch.testing.assert_close(
        squash(values), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14
    )
    assert float(squash(torch.tensor(1.0))) == pytest.approx(1, abs=1e-5)
    assert float(squash(torch.tensor(-100.0))) == pytest.approx(-1.7159)


def test_subsampling_is_a_slow_loop(rng):
    layer = Subsampling(3).double()
    with torch.no_grad():
        for weights in layer.parameters():
            weights.normal_(generator=rng)
    maps = torch.randn(2, 3, 6, 8, generator=rng, dtype=torch.float64)
    found = layer(maps).detach()
    coefficient, bias = layer.coefficient.tolist(), layer.bias.tolist()
    assert found.shape == (2, 3, 3, 4)
    for n, c, i, j in itertools.product(range(2), range(3), range(3), range(4)):
        total = 0.0
        for a, b in itertools.product(range(2), repeat=2):
            total += float(maps[n, c, 2 * i + a, 2 * j + b])
        expected = coefficient[c] * total + bias[c]
        assert float(found[n, c, i, j]) == pytest.approx(expected, abs=1e-14)


def test_c3_sees_its_connections_alone(rng):
    """A map of C3 changes with those maps of S2 that the table names, and with no others."""
    layer, table = lenet5(10, 1).c3, connection_table()
    maps = torch.rand(1, 6, 14, 14, generator=rng)
    plain = layer(maps)
    for source in range(6):
        other = maps.clone()
        other[:, source] += 1
        changed = (layer(other) != plain).flatten(2).any(2)[0]
        assert torch.equal(changed, table[:, source])
    assert torch.equal(rs.read_filters(layer) != 0, table[:, :, None, None].expand(16, 6, 5, 5))


def test_a_missing_connection_is_never_trained(rng):
    net = lenet5(10, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = net.c3.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        images = torch.rand(8, 1, 28, 28, generator=rng)
        nn.functional.cross_entropy(net(images), torch.arange(8)).backward()
        optimizer.step()
    changed = (net.c3.weight != before).flatten(2).any(2)
    assert torch.equal(changed, connection_table())


def test_initial_weights_fill_the_published_range():
    """Uniform between -2.4 and 2.4 over the fan-in, which differs between maps of C3."""
    torch.manual_seed(0)
    nets = [lenet5(10, 3) for _ in range(40)]
    fan_in = {"c1": 75, "s2": 4, "s4": 4, "c5": 400, "f6": 120, "classifier": 84}
    for name, inputs in fan_in.items():
        for part in ("coefficient" if name in ("s2", "s4") else "weight", "bias"):
            drawn = torch.stack([getattr(net.get_submodule(name), part) for net in nets])
            _check_uniform(drawn.detach(), 2.4 / inputs)
    table = connection_table()
    filters = torch.stack([net.c3.weight.detach() for net in nets])
    for row, inputs in enumerate(table.sum(1).tolist()):
        _check_uniform(filters[:, row, table[row]], 2.4 / (25 * inputs))


def _check_uniform(drawn, bound):
    assert 0.98 * bound < float(drawn.abs().max()) <= bound * (1 + 1e-6)
    assert float(drawn.double().std()) == pytest.approx(bound / 3**0.5, rel=0.15)


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (16, 16), (27, 31), (5, 32)])
def test_smaller_images_are_extended_by_their_border(size, rng):
    images = torch.rand(2, 3, *size, generator=rng)
    net = lenet5(10, 3)
    field = net.pad(images)
    top, left = (32 - size[0]) // 2, (32 - size[1]) // 2
    rows = (torch.arange(32) - top).clamp(0, size[0] - 1)
    columns = (torch.arange(32) - left).clamp(0, size[1] - 1)
    assert torch.equal(field, images[:, :, rows][:, :, :, columns])
    assert net(images).shape == (2, 10)
    layer = first_layer(net, (3, *size))
    assert (layer.name, layer.problem) == ("c1", "")
    assert torch.equal(applied_filters(net, "c1", (3, *size)), net.c1.weight.detach())


@pytest.mark.parametrize("size", [(33, 20), (20, 33), (64, 64)])
def test_larger_images_are_refused(size):
    height, width = size
    with pytest.raises(ShapeError, match=f"got images of {height}x{width}.*add size=32"):
        lenet5(10, 1)(torch.rand(1, 1, *size))
    with pytest.raises(rs.UsageError, match=r"model 'lenet5': .*style=modern"):
        rs.compare(["lenet5"], noise_images(40, (1, *size)), recipe="quick:steps=1", seeds=1)


def test_the_modern_style_has_relu_and_max_pooling():
    """Layer by layer, with torch's own initial weights, so that seeds give the same networks."""
    layers = [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Conv2d, nn.ReLU, nn.AdaptiveMaxPool2d]
    layers += [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    torch.manual_seed(3)
    net = lenet5(7, 3, style="modern")
    assert [type(layer) for layer in net] == layers
    torch.manual_seed(3)
    convolutions = [nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)]
    lines = [nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 7)]
    weights = [p for layer in (*convolutions, *lines) for p in layer.parameters()]
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), weights, strict=True))
    maps = torch.rand(2, 3, 40, 40)
    first = nn.functional.max_pool2d(convolutions[0](maps).relu(), 2)
    second = nn.functional.adaptive_max_pool2d(convolutions[1](first).relu(), 5).flatten(1)
    expected = lines[2](lines[1](lines[0](second).relu()).relu())
    torch.testing.assert_close(net(maps), expected)


def test_other_styles_are_refused():
    with pytest.raises(rs.UsageError, match="did you mean 'original'"):
        lenet5(10, 1, style="origin")


def test_stored_weights_are_loaded_into_the_architecture(tmp_path, rng):
    net, images = lenet5(7, 1).eval(), torch.rand(2, 1, 28, 28, generator=rng)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    loaded = checkpoint(10, 1, path=tmp_path / "net.pt", arch=lenet5).module.eval()
    assert torch.equal(loaded(images), net(images))


def test_its_convolutions_are_compared():
    images = both_splits(noise_images(60, (1, 28, 28)))
    result = rs.compare("lenet5", images, "cka", seeds=1, layers="convs", recipe="quick:steps=2")
    assert result.layer.values.tolist() == ["c1", "c3", "c5"]
