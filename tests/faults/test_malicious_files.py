"""A file cannot run code: every malicious file, through every way by which files are read."""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import marshal
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from children import call_each
from loaders import LOADERS, written
from malicious import LAYOUTS, NEIGHBOR, pickled, pickles, write_neighbors, zipped
from safetensors.torch import save

import repsim_energy as rs
from repsim_energy.errors import RepsimError, RepsimWarning
from repsim_energy.models.architectures import torchvision_zoo
from repsim_energy.models.checkpoint import checkpoint


@pytest.fixture
def armed(tmp_path, monkeypatch):
    """Return the marker, and name -> pickle that would touch it."""
    folder, marker = tmp_path / "beside", tmp_path / "executed"
    folder.mkdir()
    write_neighbors(folder, marker)
    monkeypatch.syspath_prepend(str(folder))
    yield marker, pickles(folder, marker)
    assert NEIGHBOR not in sys.modules


def runs(content, marker):
    """Return whether a pickle touches the marker; called in a child."""
    sys.path.insert(0, str(marker.parent / "beside"))
    with contextlib.suppress(Exception), contextlib.closing(io.BytesIO(content)) as file:
        pickle.load(file)  # some end with an error once they have run
    sys.modules.pop(NEIGHBOR, None)
    was_run = marker.exists()
    marker.unlink(missing_ok=True)
    return was_run


@pytest.mark.process
def test_each_pickle_runs_code_where_it_is_unpickled(armed):
    """Without this the other tests would show nothing."""
    marker, contents = armed
    outcomes = call_each(runs, [(content, marker) for content in contents.values()], 60)
    assert [
        name for name, one in zip(contents, outcomes, strict=True) if one.value is not True
    ] == []
    assert len(contents) >= 12


def refuses(load, *args):
    """Return whether a typed error of one line is raised, whatever warnings come before it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", RepsimWarning)
        with pytest.raises(RepsimError) as caught:
            load(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_of_weights_runs_code(armed, layout):
    marker, contents = armed
    for name, content in contents.items():
        path = marker.parent / layout
        path.write_bytes(LAYOUTS[layout](content))
        refuses(lambda path=path: checkpoint(10, 3, path=path))
        assert not marker.exists(), name


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__name__)
def test_no_way_into_the_toolkit_runs_code(armed, load, monkeypatch):
    marker, contents = armed
    for number, (name, content) in enumerate(contents.items()):
        folder = marker.parent / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            refuses(load, content, folder, patch)
        assert not marker.exists(), name


def test_a_file_that_changes_after_its_hash_was_compared_is_not_loaded(armed, monkeypatch):
    """The other file arrives between the two, the moment that an attacker would wait for."""
    marker, contents = armed
    good, bad = zipped(pickled({"epoch": 3})), zipped(contents["os.system"])
    monkeypatch.setenv("TORCH_HOME", str(marker.parent))
    name = f"net-{hashlib.sha256(good).hexdigest()[:8]}.pth"
    path = written(marker.parent / "hub" / "checkpoints" / name, good)
    digest = torchvision_zoo.bytes_digest

    def digest_then_swap(values, label):
        found = digest(values, label)
        path.write_bytes(bad)
        return found

    monkeypatch.setattr(torchvision_zoo, "bytes_digest", digest_then_swap)
    assert torchvision_zoo._published_state(f"https://host/{name}") == {"epoch": 3}
    assert path.read_bytes() == bad
    assert not marker.exists()


def test_texts_in_files_are_texts(armed):
    """Code in metadata, in the names of operations and in the functions of layers."""
    marker, _ = armed
    code = f"__import__('os').system('touch {marker}')"
    tensors = {"conv1.weight": torch.eye(27)[:8].view(8, 3, 3, 3)}
    metadata = {"first_layer": code, "bn_eps": code, "format": code, "__reduce__": code}
    path = marker.parent / "w.safetensors"
    path.write_bytes(save(tensors, metadata))
    assert checkpoint(10, 3, path=path, layer="conv1").module is not None

    result = rs.example_result()
    result.attrs.update(command=code, versions=code, title="<script>alert(1)</script>")
    rs.save_result(result, marker.parent / "r.nc")
    assert rs.open_result(marker.parent / "r.nc").attrs["command"] == code
    rs.summarize(rs.open_result(marker.parent / "r.nc"))
    assert not marker.exists()


def test_graphs_with_code_are_read_and_not_run(armed):
    """A layer of Keras whose function is compiled code, and an operation of nobody's domain."""
    h5py, onnx = pytest.importorskip("h5py"), pytest.importorskip("onnx")
    marker, _ = armed
    code = base64.b64encode(marshal.dumps(compile(f"open({str(marker)!r}, 'w')", "f", "exec")))
    function = {"class_name": "__lambda__", "config": {"code": code.decode()}}
    layers = [
        {"class_name": "Lambda", "config": {"name": "run", "function": function}},
        {"class_name": "Conv2D", "config": {"name": "conv", "kernel_size": [3, 3]}},
    ]
    path = marker.parent / "net.h5"
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": {"name": "n", "layers": layers}}
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"conv"]
        group.create_group("conv").attrs["weight_names"] = [b"conv/kernel:0"]
        group["conv/conv/kernel:0"] = np.ones((3, 3, 3, 4), np.float32)
    refuses(lambda: checkpoint(10, 3, path=path))  # which layer is the first is not known

    kernel = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    image = onnx.helper.make_tensor_value_info("image", 1, [1, 3, 8, 8])
    nodes = [
        onnx.helper.make_node("System", ["image"], ["x"], domain="evil", command=f"touch {marker}"),
        onnx.helper.make_node("Conv", ["x", "w"], ["out"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [image], [], [kernel])
    path = marker.parent / "net.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    refuses(lambda: checkpoint(10, 3, path=path))
    assert not marker.exists()


def test_nothing_that_is_shipped_is_a_pickle():
    """No file of the package begins, or has a member that begins, as pickles do."""
    package = Path(rs.__file__).parent
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        assert not content.startswith((b"\x80", b"PK", b"\x93NUMPY")), path
