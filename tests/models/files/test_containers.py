"""Weights under the keys and prefixes that training scripts use."""

import argparse
import collections
import re
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.models.architectures import lenet
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.files.containers import choose_weights

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def lenet5(num_classes, in_channels):
    return lenet.lenet5(num_classes, in_channels, style="modern")


def network(seed=0, outputs=7):
    torch.manual_seed(seed)
    return lenet5(outputs, 3).eval()


def answers(path, **options):
    taken = checkpoint(10, 3, path=path, arch=lenet5, **options)
    return taken.module.eval()(IMAGES)


def saved(content, path):
    torch.save(content, path)
    return path


CONTAINERS = [
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "network",
    "model_ema",
    "ema",
    "params",
    "params_ema",
    "student",
    "teacher",
    "generator",
    "weights",
    "ema_state_dict",
    "module",
    "state_dict_ema",
    "my_own_network",
]


@pytest.mark.parametrize("key", CONTAINERS)
def test_weights_under_one_key_are_found(key, tmp_path):
    net = network()
    state = net.state_dict()
    optimizer = torch.optim.Adam(net.parameters())
    net(IMAGES).sum().backward()
    optimizer.step()
    rest = {
        "optimizer": optimizer.state_dict(),
        "optimizer_state_dict": {"exp_avg": dict(state), "exp_avg.0.weight": state["0.weight"]},
        "epoch": torch.tensor(3),
        "mean": torch.rand(1, 3, 5, 5),
        "args": argparse.Namespace(lr=0.1, runs=types.SimpleNamespace(folder=Path("runs/7"))),
        "best": np.float64(0.5),
        "better": np.bool_(True),
        "random state": np.random.get_state(),  # noqa: NPY002
    }
    for content in ({**rest, key: state}, {"checkpoint": 1, "state": {key: state}, **rest}):
        path = saved(content, tmp_path / "w.pth")
        assert torch.equal(answers(path), net.eval()(IMAGES))
        alone = checkpoint(10, 3, path=path)
        assert torch.equal(alone.module.get_submodule(alone.layer).weight, net[0].weight)


def test_arrays_in_place_of_tensors_are_weights(tmp_path):
    net = network()
    arrays = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    assert torch.equal(answers(saved({"model": arrays}, tmp_path / "w.pth")), net.eval()(IMAGES))


def test_numpys_names_before_and_since_its_second_version_are_read(tmp_path):
    """Files name the version that wrote them, and either version opens them."""
    path = saved({"state_dict": network().state_dict(), "best": np.float64(0.5)}, tmp_path / "w.pt")
    for core in ("core", "_core"):
        changed = tmp_path / f"{core}.pt"
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name.endswith("data.pkl"):
                    data = re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), data)
                    assert f"cnumpy.{core}.multiarray".encode() in data
                new.writestr(name, data)
        assert torch.equal(answers(changed), answers(path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("model", "model_ema"),
        ("params", "params_ema"),
        ("student", "teacher"),
        ("generator", "discriminator"),
        ("state_dict", "ema_state_dict"),
        ("mine", "yours"),
    ],
)
def test_one_of_several_containers_is_chosen_or_all_are_listed(one, other, tmp_path):
    nets = {one: network(1), other: network(2)}
    content = {key: net.state_dict() for key, net in nets.items()}
    flat = {f"{key}.{n}": t for key, state in content.items() for n, t in state.items()}
    save_file(flat, tmp_path / "flat.safetensors")
    files = [
        saved(content, tmp_path / "w.ckpt"),
        saved({"state_dict": content}, tmp_path / "x.pt"),
        saved(flat, tmp_path / "flat.pt"),
        tmp_path / "flat.safetensors",
    ]
    for path in files:
        for key, net in nets.items():
            assert torch.equal(answers(path, weights=key), net(IMAGES))
            alone = checkpoint(10, 3, path=path, weights=key)
            assert torch.equal(alone.module.get_submodule(alone.layer).weight, net[0].weight)
        with pytest.raises(UsageError, match="choose with weights=") as caught:
            answers(path)
        assert all(key in str(caught.value) for key in nets)
        with pytest.raises(UsageError, match="unknown weights"):
            answers(path, weights="nobody")


PREFIXES = [
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "model.",
    "net.",
    "network.",
    "encoder.",
    "backbone.",
    "model.backbone.",
    "_forward_module.model.",
    "my.own.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_prefix_is_removed_if_the_rest_fits(prefix, ending, tmp_path):
    net, path = network(), tmp_path / f"w.{ending}"
    state = {prefix + key: tensor for key, tensor in net.state_dict().items()}
    state |= {"loss.weight": torch.ones(7), "n_averaged": torch.tensor(3)}
    torch.save(state, path) if ending == "pt" else save_file(state, path)
    assert torch.equal(answers(path), net(IMAGES))
    assert torch.equal(answers(path, init=path), net(IMAGES))


def test_wrappers_within_names_are_removed(tmp_path):
    net = network()
    state = {k.replace(".", "._orig_mod.module."): t for k, t in net.state_dict().items()}
    assert torch.equal(answers(saved(state, tmp_path / "w.pt")), net(IMAGES))


def test_mappings_of_layers_are_one_network():
    layers = {"conv1": {"kernel": torch.ones(1)}, "head": {"out": {"kernel": torch.ones(2)}}}
    for content in (layers, {"params": layers}, collections.OrderedDict(layers)):
        assert list(choose_weights(content, None, "w")) == ["conv1.kernel", "head.out.kernel"]


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {"epoch": 3}, {}, 5, None])
def test_files_without_named_tensors_are_refused(content, tmp_path):
    with pytest.raises(FileError, match="expected") as caught:
        checkpoint(10, 3, path=saved(content, tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_the_number_of_outputs_is_that_of_the_file_unless_it_is_given(tmp_path):
    path = saved(network(outputs=7).state_dict(), tmp_path / "w.pt")
    assert answers(path).shape == (2, 7)
    assert answers(path, num_classes=7).shape == (2, 7)
    with pytest.raises(FileError, match="does not fit"):
        answers(path, num_classes=8)
    with pytest.raises(UsageError, match="without arch="):
        checkpoint(10, 3, path=path, num_classes=7)


def test_weights_without_all_tensors_are_refused(tmp_path):
    state = network().state_dict()
    del state["3.bias"]
    with pytest.raises(RepsimError, match=r"3\.bias"):
        answers(saved(state, tmp_path / "w.pt"))


def test_a_pruned_network_is_loaded_with_the_same_outputs(tmp_path):
    from torch.nn.utils import prune

    net = network()
    for layer in (net[0], net[3], net[7]):
        prune.random_unstructured(layer, "weight", 0.6)
    state = {f"model.{k}": t for k, t in net.state_dict().items()}
    path = saved({"state_dict": state}, tmp_path / "w.pt")
    assert torch.equal(answers(path), net(IMAGES))


def test_an_architecture_with_its_own_parametrizations_is_loaded(tmp_path):
    from torch.nn.utils import parametrizations

    def own(num_classes, in_channels):
        net = lenet5(num_classes, in_channels)
        parametrizations.orthogonal(net[7])
        return net

    net = own(7, 3).eval()
    path = saved({"model": net.state_dict()}, tmp_path / "w.pt")
    found = checkpoint(10, 3, path=path, arch=own).module.eval()
    torch.testing.assert_close(found(IMAGES), net(IMAGES))
    with pytest.raises(FileError, match=r"7\.weight.*cannot be computed"):
        answers(path)
