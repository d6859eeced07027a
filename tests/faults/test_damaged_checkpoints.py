"""Damaged files of weights are refused as far as anything about them is known.

Of every format it is counted how many of the mutants are read as other weights. There are none if
the format has checksums, or the SHA-256 of the file is known: by the option ``sha256=``, by its
name, or by the name that a link points to. Formats without checksums cannot show damage of their
numbers, which is a property of these formats.
"""

import gzip
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import torch
from damaged import BAD, read_mutants
from safetensors.torch import save

from repsim_energy.models.files.reader import read_file

pytestmark = pytest.mark.process

FULL = pytest.param(10_000, marks=pytest.mark.faults)


def state():
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv1.weight": (8, 3, 3, 3), "conv1.bias": (8,), "conv2.weight": (4, 8, 3, 3)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def saved(**options):
    stream = io.BytesIO()
    torch.save(state(), stream, **options)
    return stream.getvalue()


def unchecked():
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        return saved()
    finally:
        torch.serialization.set_crc32_options(computed)


def onnx():
    from onnx import TensorProto, helper, numpy_helper

    bank = numpy_helper.from_array(state()["conv1.weight"].numpy(), "w")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 12, 12))
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, None)
    node = helper.make_node("Conv", ["image", "w"], ["end"])
    graph = helper.make_graph([node], "net", [image], [end], [bank])
    return helper.make_model(graph).SerializeToString()


def keras():
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        kernel = state()["conv1.weight"].permute(2, 3, 1, 0).numpy()
        file["layers/conv2d/vars/0"] = np.ascontiguousarray(kernel)
        file["layers/conv2d/vars/1"] = state()["conv1.bias"].numpy()
    return stream.getvalue()


def keras_archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("model.weights.h5", keras())
    return stream.getvalue()


class Weights:
    """A file of weights, of which nothing else is known."""

    NAME = "w"

    @classmethod
    def content(cls):
        raise NotImplementedError

    @classmethod
    def make(cls, folder):
        path = folder / cls.NAME
        path.write_bytes(cls.content())
        return [path]

    @classmethod
    def read(cls, folder):
        content = read_file(folder / cls.NAME)
        return [content.value, content.metadata, content.first_layer]


class TorchZip(Weights):
    content = staticmethod(saved)


class TorchZipWithoutChecksums(Weights):
    content = staticmethod(unchecked)


class KerasArchive(Weights):
    content = staticmethod(keras_archive)


class Gzip(Weights):
    content = staticmethod(lambda: gzip.compress(save(state())))


class GzipOfPickles(Weights):
    content = staticmethod(
        lambda: gzip.compress(saved(_use_new_zipfile_serialization=False), compresslevel=0)
    )


class TorchPickles(Weights):
    content = staticmethod(lambda: saved(_use_new_zipfile_serialization=False))


class Safetensors(Weights):
    content = staticmethod(lambda: save(state(), {"first_layer": "conv1.weight"}))


class Shards(Weights):
    """An index and two files."""

    NAME = "w.safetensors.index.json"

    @classmethod
    def make(cls, folder):
        names = {name: f"w-0000{1 + (name > 'conv2')}-of-00002.safetensors" for name in state()}
        for shard in set(names.values()):
            tensors = {name: tensor for name, tensor in state().items() if names[name] == shard}
            (folder / shard).write_bytes(save(tensors))
        (folder / cls.NAME).write_text(json.dumps({"metadata": {}, "weight_map": names}))
        return sorted(folder.iterdir())


class Onnx(Weights):
    NAME = "w.onnx"
    content = staticmethod(onnx)


class Keras(Weights):
    content = staticmethod(keras)


class KnownByName:
    """As torch.hub and timm name files."""

    @classmethod
    def make(cls, folder):
        content = cls.content()
        path = folder / f"w-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        path.write_bytes(content)
        return [path]

    @classmethod
    def read(cls, folder):
        (path,) = folder.glob("w-*")
        return read_file(path).value


class KnownByLink(Weights):
    """As the cache of Hugging Face and Git LFS store files."""

    @classmethod
    def make(cls, folder):
        content = cls.content()
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir()
        blob.write_bytes(content)
        (folder / cls.NAME).symlink_to(blob.relative_to(folder))
        return [blob]


class KnownByOption:
    @classmethod
    def make(cls, folder):
        paths = super().make(folder)
        (folder / "known").write_text(read_file(folder / cls.NAME).sha256[:16])
        return paths

    @classmethod
    def read(cls, folder):
        return read_file(folder / cls.NAME, (folder / "known").read_text()).value


class NamedPickles(KnownByName, TorchPickles):
    pass


class NamedSafetensors(KnownByName, Safetensors):
    pass


class LinkedSafetensors(KnownByLink, Safetensors):
    content = Safetensors.content


class KnownPickles(KnownByOption, TorchPickles):
    pass


class KnownSafetensors(KnownByOption, Safetensors):
    pass


class KnownShards(KnownByOption, Shards):
    pass


class KnownOnnx(KnownByOption, Onnx):
    pass


class KnownKeras(KnownByOption, Keras):
    pass


KNOWN = [
    *(NamedPickles, NamedSafetensors, LinkedSafetensors),
    *(KnownPickles, KnownSafetensors, KnownShards, KnownOnnx, KnownKeras),
]
CHECKED = [TorchZip, TorchZipWithoutChecksums, KerasArchive, Gzip, GzipOfPickles]
UNCHECKED = [TorchPickles, Safetensors, Shards, Onnx, Keras]


@pytest.mark.parametrize("count", [90, FULL])
@pytest.mark.parametrize("reader", CHECKED, ids=lambda reader: reader.__name__)
def test_damage_of_a_format_with_checksums_is_never_read_as_other_weights(reader, count):
    tally = read_mutants(reader, count)
    assert not {kind: n for kind, n in tally.counts.items() if kind in BAD}, tally.examples
    assert tally.counts.total() >= count


@pytest.mark.parametrize("count", [45, FULL])
@pytest.mark.parametrize("reader", KNOWN, ids=lambda reader: reader.__name__)
def test_damage_of_a_file_of_known_sha256_is_never_read(reader, count):
    tally = read_mutants(reader, count)
    assert not {kind: n for kind, n in tally.counts.items() if kind in BAD}, tally.examples
    assert tally.counts["refused"] >= count


@pytest.mark.parametrize("count", [45, FULL])
@pytest.mark.parametrize("reader", UNCHECKED, ids=lambda reader: reader.__name__)
def test_damage_of_a_format_without_checksums_is_no_crash(reader, count):
    tally = read_mutants(reader, count)
    print(reader.__name__, dict(tally.counts))
    found = {kind: n for kind, n in tally.counts.items() if kind in BAD and kind != "silent"}
    assert not found, tally.examples
