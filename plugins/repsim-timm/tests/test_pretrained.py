"""Pretrained networks: from files, refused ones, and what they normalize by."""

import pickle
from pathlib import Path

import pytest
import repsim_energy as rs
import timm
import torch
from safetensors.torch import save_file

from repsim_timm.family import family


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return name -> a file of weights in the layout that timm publishes, with the network."""
    folder, made = tmp_path_factory.mktemp("weights"), {}
    for seed, name in enumerate(["test_resnet", "test_efficientnet", "test_nfnet", "test_vit"]):
        torch.manual_seed(seed)
        net = timm.create_model(name).eval()
        for parameter in net.parameters():  # gains and biases as if they were trained
            parameter.data += 0.05 * torch.randn_like(parameter)
        made[name] = folder / f"{name}.safetensors", net
        save_file(net.state_dict(), made[name][0])
    return made


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_nfnet", "test_vit"])
def test_a_file_gives_the_network_that_wrote_it(files, name):
    path, net = files[name]
    taken = family(name, 10, 3, weights=path)
    images = torch.rand(2, *net.pretrained_cfg["input_size"])
    with torch.no_grad():
        torch.testing.assert_close(taken.module.eval()(images), net(images), rtol=1e-4, atol=1e-5)
    config = timm.get_pretrained_cfg(name)
    assert taken.normalization == rs.Normalization(tuple(config.mean), tuple(config.std))
    assert taken.layer == config.first_conv


def test_normalization_is_that_of_the_tag(files, tmp_path):
    """Of one architecture, weights of several origins were trained on other inputs."""
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), path)
    augreg = family("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 10, 3, weights=path)
    assert augreg.normalization.mean == (0.5, 0.5, 0.5)
    resnet = family("test_resnet.r160_in1k", 10, 3, weights=files["test_resnet"][0])
    assert resnet.normalization.mean == timm.get_pretrained_cfg("test_resnet.r160_in1k").mean


def test_standardized_filters_are_read_as_they_are_applied(files):
    """Impulses in place of an image: the responses are the filters."""
    path, net = files["test_nfnet"]
    taken = family("test_nfnet", 10, 3, weights=path)
    applied = rs.read_filters(rs.find_first_conv(taken.module, taken.layer).module)
    layer = net.get_submodule(taken.layer)
    c, kh, kw = layer.weight.shape[1:]
    layer.stride, layer.padding, layer.bias = (kh, kw), (0, 0), None
    impulses = torch.eye(c * kh * kw).view(-1, c, kh, kw)
    with torch.no_grad():
        responses = layer(impulses)[:, :, 0, 0].T.reshape(applied.shape)
    torch.testing.assert_close(applied, responses)
    assert not torch.allclose(applied, layer.weight, atol=1e-2)


def test_a_state_dict_is_read_and_code_is_not_run(files, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(files["test_resnet"][1].state_dict(), path)
    family("test_resnet", 10, 3, weights=path)

    marker = tmp_path / "executed"
    evil, raw = tmp_path / "evil.pth", tmp_path / "raw.pth"
    torch.save({"fc.weight": Malicious(marker)}, evil)
    raw.write_bytes(pickle.dumps(Malicious(marker)))
    for bad in (evil, raw):
        with pytest.raises(rs.FileError, match="cannot be read as weights") as caught:
            family("test_resnet", 10, 3, weights=bad)
        assert "\n" not in str(caught.value)
    assert not marker.exists()


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_files_that_are_damaged_or_of_another_network_are_refused(files, tmp_path):
    good = files["test_resnet"][0]
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-50])
    for bad in (cut, files["test_efficientnet"][0]):
        with pytest.raises(rs.FileError, match="expected the file that timm publishes") as caught:
            family("test_resnet", 10, 3, weights=bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(rs.UsageError, match="no weights at"):
        family("test_resnet", 10, 3, weights=tmp_path / "absent.safetensors")


def test_offline_the_place_of_the_weights_is_named():
    with pytest.raises(rs.RepsimError, match="cannot be downloaded") as caught:
        family("test_resnet.r160_in1k", 10, 3, pretrained=True)
    assert "https://huggingface.co/timm/test_resnet.r160_in1k" in str(caught.value)
    assert "weights=PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_meant_is_refused(files):
    without = next(n for n in timm.list_models() if not timm.is_model_pretrained(n))
    with pytest.raises(rs.UsageError, match="publishes no weights"):
        family(without, 10, 3, pretrained=True)
    with pytest.raises(rs.UsageError, match="got sigma= with pretrained weights"):
        family("test_resnet", 10, 3, weights=files["test_resnet"][0], sigma=0.1)
