"""A result says which weights it is of: hashes of files and filters that anybody can take again."""

import gzip
import hashlib
import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import RECIPE, TINY, both_splits, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison.which_weights import filters_sha256
from repsim_energy.results import to_json


def slow_digest(filters):
    """The definition, number by number."""
    k, c, kh, kw = filters.shape
    data = f"float32 {k},{c},{kh},{kw}\n".encode()
    for index in np.ndindex(k, c, kh, kw):
        data += struct.pack("<f", float(filters[index]) or 0.0)
    return hashlib.sha256(data).hexdigest()


def bank(seed=0, k=4):
    return torch.randn(k, 3, 3, 3, generator=torch.Generator().manual_seed(seed))


def digests(result, name="filters_sha256"):
    return result[name].isel(dataset=0).values.tolist()


def test_the_hash_of_filters_is_as_defined():
    filters = bank()
    expected = slow_digest(filters)
    strided = torch.stack([filters, filters], -1)[..., 0]
    for same in (filters, strided, filters.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)):
        assert filters_sha256(same) == expected
    others = (filters.double(), filters.reshape(2, 6, 3, 3), -filters, filters.transpose(2, 3))
    assert len({expected, *map(filters_sha256, others)}) == 5
    data = b"float64 4,3,3,3\n" + filters.double().numpy().astype("<f8").tobytes()
    assert filters_sha256(filters.double()) == hashlib.sha256(data).hexdigest()


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
def test_whatever_holds_the_same_filters_has_the_same_hash(pictures, tmp_path):
    net = small_cnn(3, 3)
    filters = net[0].weight.detach()
    torch.save(net.state_dict(), tmp_path / "a.pt")
    torch.save({"model": nn.DataParallel(net).state_dict()}, tmp_path / "b.ckpt")
    save_file({"stem.weight": filters.double()}, tmp_path / "c.safetensors")
    (tmp_path / "d.pt.gz").write_bytes(gzip.compress((tmp_path / "a.pt").read_bytes()))
    files = sorted(tmp_path.iterdir())
    result = rs.compare(
        [*files, net, filters, filters.numpy(), rs.TrainedModel(net), TINY],
        pictures,
        stage="trained",
        recipe=RECIPE,
        seeds=1,
    )
    assert digests(result) == [slow_digest(filters)] * 8 + [""]
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert result.file_sha256.values.tolist() == [*expected, *[""] * 5]
    assert digests(result, "init_sha256") == [""] * 9
    assert result.model_spec.values[-1] == TINY
    read = json.loads(to_json(result))["coords"]
    assert read["filters_sha256"]["data"] == [digests(result)]
    rs.save_result(result, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(result)


def test_the_hash_is_that_of_what_is_compared(pictures, tmp_path):
    """Masked weights, a named layer and filters without their holes, not what stands in memory."""
    from torch.nn.utils import prune

    pruned, dilated = small_cnn(3, 3), nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2, bias=False))
    prune.random_unstructured(pruned[0], "weight", 0.5)
    torch.save(pruned.state_dict(), tmp_path / "pruned.pt")
    result = rs.compare([pruned, tmp_path / "pruned.pt"], pictures)
    assert digests(result) == [slow_digest(pruned[0].weight.detach())] * 2
    result = rs.compare(dilated, pictures)
    assert result.similarity.shape == (1, 1, 1, 1, 1, 1)
    assert digests(result) == [filters_sha256(dilated[0].weight)]


def test_filters_before_training_are_hashed_too(pictures, tmp_path):
    torch.save({"c.weight": bank(0)}, tmp_path / "init.pt")
    torch.save({"c.weight": bank(1)}, tmp_path / "end.pt")
    spec = rs.write_spec("checkpoint", path=tmp_path / "end.pt", init=tmp_path / "init.pt")
    result = rs.compare(spec, pictures)
    assert digests(result) == [slow_digest(bank(1))]
    assert digests(result, "init_sha256") == [slow_digest(bank(0))]


@pytest.mark.parametrize("layers", ["first", "output"])
def test_metrics_on_activations_say_it_too(layers, pictures, tmp_path):
    net, other = small_cnn(3, 3), nn.Sequential(nn.BatchNorm2d(3), nn.AvgPool2d(2))
    models = [net, other] if layers == "output" else [net]
    result = rs.compare(models, both_splits(pictures), "cka", layers=layers)
    assert digests(result) == [slow_digest(net[0].weight.detach()), ""][: len(models)]


def test_the_hash_of_several_files_is_that_of_what_sha256sum_prints(pictures, tmp_path):
    names = [f"m-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"conv{number}.weight": bank(number)}, tmp_path / name)
    index = {"weight_map": {f"conv{number}.weight": name for number, name in enumerate(names)}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    result = rs.compare(f"{tmp_path}/m.safetensors.index.json:layer=conv0", pictures)
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(tmp_path.iterdir())
    )
    assert result.file_sha256.values.tolist() == [hashlib.sha256(lines.encode()).hexdigest()]
