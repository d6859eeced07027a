"""Files that cannot be read as weights are described in one line with a remedy."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.files.reader import read_file


def state():
    return {
        "conv1.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
        "conv2.weight": torch.ones(2, 4, 3, 3),
    }


def pytorch(content=None, **options):
    stream = io.BytesIO()
    torch.save(state() if content is None else content, stream, **options)
    return stream.getvalue()


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def tar(name, content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def arrays(**content):
    stream = io.BytesIO()
    np.savez(stream, **content)
    return stream.getvalue()


WHOLE = pytorch(nn.Sequential(nn.Conv2d(3, 4, 3)))
ARRAY = np.ones((4, 3, 3, 3), np.float32)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"

FILES = {
    "git-lfs pointer": POINTER,
    "git lfs pull": POINTER,
    "whole pickled module": WHOLE,
    "torch.nn.modules": WHOLE,
    "state_dict\\(\\)": pytorch(nn.Conv2d(3, 4, 3), _use_new_zipfile_serialization=False),
    "NumPy objects": pickle.dumps({"conv1.weight": ARRAY}),
    "pickled NumPy": pytorch({"conv1.weight": ARRAY.astype(object)}),
    "pickled NumPy objects": pytorch({"model": state(), "day": np.datetime64("2024-01-01")}),
    "more than tensors \\(fractions.Fraction": pytorch({"a": Fraction(1)}),
    "web page": b"\n<!DOCTYPE html><html><title>404</title></html>",
    "file itself": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON text": json.dumps({"error": "not found"}).encode(),
    "is empty": b"",
    "zeros alone": bytes(10_000),
    "TensorFlow Lite": b"\x1c\x00\x00\x00TFL3" + bytes(600),
    "TorchScript archive": archive(**{"net/constants.pkl": "x", "net/data.pkl": "x"}),
    "\\.npz": arrays(conv1=ARRAY),
    "zip archive,.*; unpack": archive(readme="x"),
    "tar archive": tar("conv1", b"x" * 600),
    "xz,.*; unpack": b"\xfd7zXZ\x00" + bytes(600),
    "truncated or damaged": pytorch()[:-300],
    "truncated, damaged": save(state())[:-20],
    "cannot be read as a checkpoint": save(state())[:30],
    "truncated": gzip.compress(pytorch())[:-200],
    "git-lfs": gzip.compress(POINTER),
}


@pytest.mark.parametrize("words", FILES)
@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.ckpt", "w.bin", "w.th", "w.safetensors"])
def test_files_of_other_formats_are_described(words, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[words])
    with pytest.raises(FileError, match=words) as caught:
        checkpoint(10, 3, path=path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "weights_only" not in message
    assert any(way in message for way in ("expected", "save", "download", "unpack", "pass it"))


def test_a_real_torchscript_archive_is_named(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # torch calls it out of date
        torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8)), path)
    with pytest.raises(FileError, match="TorchScript archive"):
        checkpoint(10, 3, path=path)


ENDINGS = ["pt", "pth", "th", "ckpt", "bin", "safetensors", "weights", "pt.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_the_format_is_detected_by_the_content_not_the_name(ending, packed, kind, tmp_path):
    content = {
        "zip": pytorch,
        "legacy": lambda: pytorch(_use_new_zipfile_serialization=False),
        "safetensors": lambda: save(state(), {"first_layer": "conv1.weight"}),
    }[kind]()
    path = tmp_path / f"w.{ending}"
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_file(path)
    assert all(torch.equal(found.value[name], tensor) for name, tensor in state().items())
    assert found.ordered == (kind != "safetensors")
    assert dict(found.metadata) == ({"first_layer": "conv1.weight"} if not found.ordered else {})


def shards(folder, ending):
    names = {}
    for number, (key, tensor) in enumerate(state().items(), 1):
        name = f"model-0000{number}-of-00002.{ending}"
        names[key] = name
        part = {key: tensor}
        save_file(part, folder / name) if ending == "safetensors" else torch.save(
            part, folder / name
        )
    index = folder / f"model.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": names}))
    return index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_network_in_several_files_is_read_by_its_index(ending, tmp_path):
    index = shards(tmp_path, ending)
    found = checkpoint(10, 3, path=index)
    assert found.layer == "conv1"
    assert torch.equal(found.module.conv1.weight, state()["conv1.weight"])
    assert torch.equal(
        checkpoint(10, 3, path=index, layer="conv2").module.conv2.weight, state()["conv2.weight"]
    )


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_shard_alone_and_an_index_without_its_shards_are_refused(ending, tmp_path):
    index = shards(tmp_path, ending)
    part = tmp_path / f"model-00001-of-00002.{ending}"
    with pytest.raises(FileError, match=f"one of 2 files.*model.{ending}.index.json"):
        checkpoint(10, 3, path=part)
    part.unlink()
    with pytest.raises(FileError, match="index of 2 files, of which 1 are missing.*00001-of-00002"):
        checkpoint(10, 3, path=index)
    part.write_bytes(POINTER)
    with pytest.raises(FileError, match="00001-of-00002.*git lfs pull"):
        checkpoint(10, 3, path=index)
    (tmp_path / "elsewhere").mkdir()
    outside = tmp_path / "elsewhere" / "model.index.json"
    for name in ("../x.bin", str(tmp_path / "x.bin")):
        outside.write_text(json.dumps({"weight_map": {"conv1.weight": name}}))
        with pytest.raises(FileError, match="in its own folder"):
            checkpoint(10, 3, path=outside)


def test_an_index_of_missing_tensors_is_refused(tmp_path):
    index = shards(tmp_path, "bin")
    content = json.loads(index.read_text())
    content["weight_map"]["conv3.weight"] = "model-00001-of-00002.bin"
    index.write_text(json.dumps(content))
    with pytest.raises(FileError, match=r"conv3\.weight"):
        checkpoint(10, 3, path=index)


def test_a_folder_and_an_onnx_file_are_named(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        checkpoint(10, 3, path=tmp_path)
    path = tmp_path / "w.onnx"
    path.write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(range(200)))
    with pytest.raises(RepsimError, match="ONNX"):
        checkpoint(10, 3, path=path)
