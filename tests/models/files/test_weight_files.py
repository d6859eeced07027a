"""Weights from files of every layout, without running code in them."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from repsim_energy.errors import FileError, ShapeError, UsageError
from repsim_energy.models.architectures.resnet import resnet20
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.checkpoint import checkpoint


@pytest.fixture
def net():
    return resnet20(10, 3, width=0.25)


@pytest.mark.parametrize("layout", ["safetensors", "plain", "nested", "parallel", "legacy"])
def test_filters_are_read_from_every_layout(net, layout, tmp_path):
    state = net.state_dict()
    path = tmp_path / ("w.safetensors" if layout == "safetensors" else "w.pt")
    if layout == "safetensors":
        save_file(state, path)
    else:
        content = {
            "plain": state,
            "legacy": state,
            "nested": {"state_dict": state, "epoch": 3, "lr": 0.1},
            "parallel": {"model": {f"module.{k}": v for k, v in state.items()}},
        }[layout]
        torch.save(content, path, _use_new_zipfile_serialization=layout != "legacy")
    taken = checkpoint(10, 3, path=path, layer="conv1" if layout != "plain" else None)
    assert not taken.network
    banks = [m.weight for m in taken.module.modules() if isinstance(m, nn.Conv2d)]
    assert len(banks) == 1
    whole = checkpoint(10, 3, path=path, arch=resnet20, width=0.25)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(whole.module.eval()(images), net.eval()(images))
    if layout != "plain":
        assert torch.equal(banks[0], net.conv1.weight)


def test_initial_weights_give_the_stage_change(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    torch.save(resnet20(10, 3, width=0.25).state_dict(), tmp_path / "init.pt")
    taken = checkpoint(10, 3, path=tmp_path / "w.pt", init=tmp_path / "init.pt", layer="conv1")
    assert taken.initial.shape == net.conv1.weight.shape
    torch.save(resnet20(10, 3).state_dict(), tmp_path / "init.pt")
    with pytest.raises(ShapeError, match="same layer before and after"):
        checkpoint(10, 3, path=tmp_path / "w.pt", init=tmp_path / "init.pt", layer="conv1")


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_files_with_code_or_damage_are_refused_unopened(net, tmp_path):
    marker = tmp_path / "executed"
    whole, evil, raw = tmp_path / "whole.pt", tmp_path / "evil.pt", tmp_path / "raw.pt"
    torch.save(net, whole)
    torch.save({"w": Malicious(marker)}, evil)
    raw.write_bytes(pickle.dumps(Malicious(marker)))
    good = tmp_path / "good.safetensors"
    save_file(net.state_dict(), good)
    torch.save(net.state_dict(), tmp_path / "good.pt")
    for name, content in {
        "cut.safetensors": good.read_bytes()[:-50],
        "head.safetensors": good.read_bytes()[:20],
        "cut.pt": (tmp_path / "good.pt").read_bytes()[:-500],
        "noise.pt": bytes(range(256)) * 20,
        "empty.pt": b"",
        "empty.safetensors": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
    bad = [
        whole,
        evil,
        raw,
        *tmp_path.glob("cut*"),
        *tmp_path.glob("head*"),
        *tmp_path.glob("noise*"),
        *tmp_path.glob("empty*"),
    ]
    assert len(bad) == 9
    for path in bad:
        with pytest.raises(FileError, match="expected|save") as caught:
            checkpoint(10, 3, path=path)
        assert caught.value.exit_code == 4
        assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_weights_that_do_not_fit_are_refused(net, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(net.state_dict(), path)
    with pytest.raises(FileError, match="does not fit the architecture"):
        checkpoint(10, 3, path=path, arch=resnet20, width=0.5)
    with pytest.raises(UsageError, match="did you mean 'conv1'"):
        checkpoint(10, 3, path=path, layer="conv11")
    with pytest.raises(UsageError, match="unknown option"):
        checkpoint(10, 3, path=path, width="0.5")
    with pytest.raises(UsageError, match="no checkpoint at"):
        checkpoint(10, 3, path=tmp_path / "absent.pt")
    torch.save({"w": torch.ones(3)}, path)
    with pytest.raises(FileError, match=r"holds w \(3,\), expected filters"):
        checkpoint(10, 3, path=path)


def test_a_poisoned_download_cache_is_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    marker = tmp_path / "executed"
    torch.save({"w": Malicious(marker)}, folder / "resnet18-f37072fd.pth")
    with pytest.raises(FileError, match="as in its name.*the published file"):
        zoo("resnet18", 10, 3, weights="IMAGENET1K_V1")
    assert not marker.exists()
