"""Weights cannot run code, wherever timm finds them."""

import hashlib
import os
import pickle
import warnings
from collections import OrderedDict

import pytest
import repsim_energy as rs
import timm
import torch
from safetensors.torch import save

from repsim_timm import pretrained
from repsim_timm.family import family

ADDRESS = "gcvit_xxtiny.in1k"
"""A model that timm downloads from an address, not from the Hub."""

TYPE_ERROR = b"\x80\x02](ccollections\nOrderedDict\n)R(N}X\x01\x00\x00\x00xK\x01stb"
"""A list whose first entry weights_only refuses by a TypeError. timm then unpickles everything."""


class Call:
    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def contents(tmp_path):
    """Return name -> content of a file that touches the marker where it is unpickled."""
    touch = Call(os.system, f"touch {tmp_path / 'executed'}")
    raw = pickle.dumps(touch, protocol=2)
    path = tmp_path / "zip"
    torch.save({"fc.weight": touch}, path)
    rebuilt = Call(torch._utils._rebuild_parameter, touch, True, OrderedDict())
    return {
        "raw": raw,
        "zip": path.read_bytes(),
        "text": f"cos\nsystem\n(S'touch {tmp_path / 'executed'}'\ntR.".encode(),
        "torch's own function": pickle.dumps(rebuilt, protocol=2),
        "an error of another type first": TYPE_ERROR + raw[2:-1] + b"e.",
    }


def refused(tmp_path, name, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rs.RepsimWarning)
        with pytest.raises(rs.FileError) as caught:
            family(name, 10, 3, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("ending", [".pth", ".bin", ".safetensors", ".npz"])
def test_a_local_file_runs_nothing(contents, ending, tmp_path):
    for content in contents.values():
        path = tmp_path / f"w{ending}"
        path.write_bytes(content)
        refused(tmp_path, "test_resnet", weights=path)
        refused(tmp_path, "vit_tiny_patch16_224.augreg_in21k", weights=path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The cache as the client of the Hub lays it out, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    hub_id = timm.get_pretrained_cfg("test_resnet.r160_in1k").hf_hub_id
    repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
    (repository / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    return repository


def test_a_file_of_the_hub_has_the_hash_that_it_is_stored_under(repository, tmp_path):
    """One bit of a weight is another network, which no format shows."""
    content = bytearray(save(timm.create_model("test_resnet").state_dict()))
    digest = hashlib.sha256(content).hexdigest()
    (repository / "blobs").mkdir()
    blob = repository / "blobs" / digest
    blob.write_bytes(content)
    link = repository / "snapshots" / ("a" * 40) / "model.safetensors"
    link.symlink_to(blob)
    assert family("test_resnet.r160_in1k", 10, 3, pretrained=True).layer
    content[-1] ^= 1
    blob.write_bytes(content)
    refused(tmp_path, "test_resnet.r160_in1k", pretrained=True)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_poisoned_cache_of_the_hub_runs_nothing(contents, name, repository, tmp_path):
    snapshot = repository / "snapshots" / ("a" * 40)
    if name == "pytorch_model.bin":  # and the Hub is known to have no other
        missing = repository / ".no_exist" / ("a" * 40)
        missing.mkdir(parents=True)
        for other in ("model.safetensors", "pytorch_model.safetensors"):
            (missing / other).touch()
    for content in contents.values():
        (snapshot / name).write_bytes(content)
        refused(tmp_path, "test_resnet.r160_in1k", pretrained=True)


def test_a_poisoned_cache_of_torch_runs_nothing(contents, tmp_path, monkeypatch):
    """Neither under the published name, nor where the hash is right or missing."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("TIMM_USE_OLD_CACHE", "1")
    published = timm.get_pretrained_cfg(ADDRESS).url.rpartition("/")[2]
    for content in contents.values():
        digest = hashlib.sha256(content).hexdigest()[:8]
        for name in (published, f"net-{digest}.pth", "net.pth"):
            (folder / name).write_bytes(content)
            with monkeypatch.context() as patch:
                if name != published:
                    found = timm.get_pretrained_cfg(ADDRESS)
                    found.url = f"https://host/{name}"
                    patch.setattr(pretrained.timm, "get_pretrained_cfg", lambda *_, f=found: f)
                refused(tmp_path, ADDRESS, pretrained=True)


def test_a_file_without_a_hash_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "net.pth"
    path.parent.mkdir(parents=True)
    torch.save(timm.create_model(ADDRESS.partition(".")[0]).state_dict(), path)
    found = timm.get_pretrained_cfg(ADDRESS)
    found.url = "https://host/net.pth"
    monkeypatch.setattr(pretrained.timm, "get_pretrained_cfg", lambda *_: found)
    with pytest.warns(rs.RepsimWarning, match="could not be compared"):
        family(ADDRESS, 10, 3, pretrained=True)
