"""Small files that declare a huge content are refused at once, and nothing of it is allocated."""

import gzip
import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from children import call_each

import repsim_energy as rs
from repsim_energy.data.idx import read_idx
from repsim_energy.data.npz import npz
from repsim_energy.models.feature_files import read_features
from repsim_energy.models.files.weights import load_weights
from repsim_energy.results import open_result

pytestmark = pytest.mark.process

HUGE = 10**12
ALLOWED_BYTES = 2**29
"""Growth of the memory in use: unpacking stops at half of it."""


def npy_header(shape, dtype="<f4"):
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def archive_of(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def with_declared_sizes(content, size):
    """Return a zip archive whose central directory declares this size for every member."""
    data, at = bytearray(content), 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        data[at + 24 : at + 28] = struct.pack("<I", size)
        at += 4
    return bytes(data)


def array_chunk(path):
    path.write_bytes(npy_header((HUGE, 8, 8, 3), "|u1") + bytes(100))
    return path


def array_of_images(path):
    archive_of(path, train_images=npy_header((HUGE, 8, 8)) + bytes(99), train_labels=b"")
    return path


def array_of_features(path):
    archive_of(path, x=npy_header((HUGE, 8)) + bytes(99), ids=npy_header((HUGE,)) + bytes(99))
    return path


def features_of_declared_size(path):
    np.savez(path.with_suffix(".npz"), x=np.ones((20, 3)), ids=np.arange(20))
    content = path.with_suffix(".npz").read_bytes()
    path.write_bytes(with_declared_sizes(content, 2**32 - 2))
    return path


def netcdf(path, name):
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        file.schema_version = 2
        for dim in "ab":
            file.createDimension(dim, 10**6)
        file.createVariable(name, "f8", ("a", "b"), chunksizes=(1000, 1000))
    return path


def result(path):
    return netcdf(path, "similarity")


def netcdf_features(path):
    import netCDF4

    netcdf(path, "x")
    with netCDF4.Dataset(path, "a") as file:
        file.delncattr("schema_version")
    return path


def safetensors_header(path):
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    return path


def safetensors_shape(path):
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * HUGE]}
    header = json.dumps({"conv1.weight": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    return path


def gzip_bomb(path):
    path.write_bytes(gzip.compress(bytes(2**24)) * 600)
    return path


def gzip_bomb_of_images(path):
    return gzip_bomb(path)


def pytorch_bomb(path):
    """Members that are packed to a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}.")
        for number in range(20):
            file.writestr(f"archive/data/{number}", bytes(2**24))
    return path


def pytorch_sizes(path):
    stream = io.BytesIO()
    torch.save({"conv1.weight": torch.ones(4, 3, 3, 3)}, stream)
    path.write_bytes(with_declared_sizes(stream.getvalue(), 2**32 - 2))
    return path


def repeated_number(path):
    """One number, expanded."""
    torch.save({"conv1.weight": torch.ones(1).expand(HUGE).view(10**6, 10**4, 10, 10)}, path)
    return path


def pickled_storage(path):
    torch.save({"conv1.weight": torch.ones(12345)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    declared = pickle_number(12345)
    assert data.count(declared)
    path.write_bytes(data.replace(declared, pickle_number(2**31 - 1)))
    return path


def pickle_number(number):
    return b"M" + struct.pack("<H", number) if number < 2**16 else b"J" + struct.pack("<i", number)


def onnx_model(path, tensor):
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 12, 12))
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, None)
    node = helper.make_node("Conv", ["image", "w"], ["end"])
    graph = helper.make_graph([node], "net", [image], [end], [tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def huge_tensor():
    from onnx import TensorProto

    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**6, 10**6, 10, 10])


def onnx_dimensions(path):
    tensor = huge_tensor()
    tensor.raw_data = bytes(100)
    return onnx_model(path, tensor)


def onnx_external(path):
    from onnx import TensorProto

    tensor = huge_tensor()
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.data")
    (path.parent / "w.data").write_bytes(bytes(100))
    return onnx_model(path, tensor)


def onnx_circle(path):
    """A value that is computed from itself."""
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 12, 12))
    end = helper.make_tensor_value_info("end", TensorProto.FLOAT, None)
    circle = helper.make_node("Identity", ["w"], ["w"])
    node = helper.make_node("Conv", ["image", "w"], ["end"])
    graph = helper.make_graph([circle, node], "net", [image], [end])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def keras_kernel(path):
    import h5py

    with h5py.File(path, "w") as file:
        shape, chunks = (100, 100, 10**4, 10**4), (10, 10, 10, 10)
        file.create_dataset("layers/conv2d/vars/0", shape, "f4", chunks=chunks)
    return path


def sum_chunk(path):
    return rs.patch_moments_of_chunks([path], (3, 3))


def images_of_mnist(path):
    return read_idx(path, 3)


def train_images(path):
    return npz("train", path=path)


READERS = [
    *((array_chunk, sum_chunk), (array_of_images, train_images)),
    *((array_of_features, read_features), (features_of_declared_size, read_features)),
    *((result, open_result), (netcdf_features, read_features)),
    (gzip_bomb_of_images, images_of_mnist),
    *((made, load_weights) for made in (safetensors_header, safetensors_shape, gzip_bomb)),
    *((made, load_weights) for made in (pytorch_bomb, pytorch_sizes, repeated_number)),
    *((made, load_weights) for made in (pickled_storage, onnx_dimensions, onnx_external)),
    *((made, load_weights) for made in (onnx_circle, keras_kernel)),
]


def growth(read, path):
    """Return an error as the child would meet it, with the growth of its memory."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read(path)
    except rs.RepsimError as error:
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return str(error), 1024 * (after - before)
    return "read", 0


def test_what_small_files_declare_is_not_allocated(tmp_path):
    pytest.importorskip("resource")
    items = [(read, make(tmp_path / f"{make.__name__}.x")) for make, read in READERS]
    for (_, path), outcome in zip(items, call_each(growth, items), strict=True):
        assert outcome.kind == "returned", (path.name, outcome)
        text, grown = outcome.value
        assert text != "read", path.name
        assert os.fspath(path.parent) in text
        assert grown < ALLOWED_BYTES, (path.name, grown)
