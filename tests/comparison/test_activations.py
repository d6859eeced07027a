"""What hooks see of a network: every layer once for each image, before it is overwritten."""

import contextlib

import pytest
import torch
from torch import nn

from repsim_energy.comparison.activations import layer_names, layer_sizes, looking_on, observe
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.models.architectures.resnet import resnet20

PLAIN = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CPU = torch.device("cpu")


class Twice(nn.Module):
    """Uses one ReLU twice, one layer never, and has one that answers a pair."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.never = nn.Linear(2, 2)
        self.recurrent = nn.GRU(4, 5, batch_first=True)
        self.swap = nn.Identity()

    def forward(self, images):
        maps = self.relu(self.relu(self.conv(images)) - 1)
        rows = maps.flatten(2).transpose(1, 2)
        self.swap(rows.transpose(0, 1))
        return self.recurrent(rows)[0]


def seen(module, layers, images, batch, through=False):
    parts = {}
    names = layer_names(module, layers)
    observe(
        module,
        names,
        images,
        batch,
        PLAIN,
        CPU,
        lambda layer, answer: parts.setdefault(layer, []).append(answer.clone()),
        through=through,
    )
    return {layer: torch.cat(answers) for layer, answers in parts.items()}


@pytest.fixture
def images(rng):
    return torch.rand(10, 3, 8, 8, generator=rng)


def test_answers_are_those_of_the_layers_before_an_inplace_relu(images):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.5))
    found = seen(net, ["convs", "1", "output"], images, batch=4)
    expected = net[0](images)
    torch.testing.assert_close(found["0"], expected)
    torch.testing.assert_close(found["1"], expected.relu())
    torch.testing.assert_close(found["output"], expected.relu().flatten(1))
    assert not any(answers.requires_grad for answers in found.values())
    assert net.training  # as it was
    assert not any(module._forward_hooks for module in net.modules())


def test_a_network_keeps_the_mode_of_each_of_its_parts(images):
    """Such as a batch norm that is frozen while the rest is trained."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(0.5)))
    net[1].eval()
    before = [module.training for module in net.modules()]
    state = {name: values.clone() for name, values in net.state_dict().items()}
    seen(net, ["output"], images, batch=4)
    assert [module.training for module in net.modules()] == before
    assert all(torch.equal(values, state[name]) for name, values in net.state_dict().items())


def test_a_network_is_left_once_all_layers_have_answered(images):
    class Last(nn.Module):
        def forward(self, maps):
            raise AssertionError("nobody asked for this layer")

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), Last())
    found = seen(net, ["first", "2"], images, batch=3)
    torch.testing.assert_close(found["2"], net[:3](images))
    assert not net[0]._forward_hooks


def test_convs_are_all_convolutions_under_their_names():
    net = resnet20(10, 3, width=0.25)
    names = layer_names(net, ["convs", "output"])
    assert len(names) == 19 + 2 + 1  # two shortcuts are convolutions too
    assert names["blocks.3.downsample.0"] == "blocks.3.downsample.0"
    sizes = layer_sizes(net, names, torch.rand(3, 3, 32, 32), CPU)
    assert sizes["conv1"] == 4 * 32 * 32
    assert sizes["output"] == 10


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("relu", "'relu' is used several times for an image"),
        ("never", "'never' is not used by Twice"),
        ("recurrent", "'recurrent' returns tuple"),
        ("swap", "'swap' returns shape"),
        ("nowhere", "unknown layer of Twice 'nowhere'"),
    ],
)
def test_what_is_not_one_answer_for_each_image_is_refused(layer, words, images):
    net = Twice()
    with pytest.raises(UsageError, match=words):
        seen(net, [layer], images, batch=4, through=True)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("leaves_early", [False, True])
def test_a_network_is_put_back_where_it_was_with_all_that_is_its_own(leaves_early):
    """Another device stands in for a GPU; numbers there are not needed to be put back."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    net[1].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net[0].bias.data = net[1].weight.data[:]  # two parameters, one memory
    own = [*net.parameters(), *net.buffers(), net[0].weight.grad]
    memory, numbers = [t.data_ptr() for t in own], [t.clone() for t in own]
    left = pytest.raises(KeyError) if leaves_early else contextlib.nullcontext()
    with left, looking_on(net, torch.device("meta")) as hooks:
        hooks.append(net[0].register_forward_hook(print))
        assert all(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))
        assert not any(part.training for part in net.modules())
        if leaves_early:
            raise KeyError
    now = [*net.parameters(), *net.buffers(), net[0].weight.grad]
    assert all(one is other for one, other in zip(now, own, strict=True))
    assert [tensor.data_ptr() for tensor in now] == memory
    assert all(torch.equal(one, other) for one, other in zip(now, numbers, strict=True))
    assert [part.training for part in net.modules()] == [True, True, False, True]
    assert not net[0]._forward_hooks
