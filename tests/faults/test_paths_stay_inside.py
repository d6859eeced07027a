"""Names in files, specs, labels and identifiers lead to no other place than their own."""

import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

import repsim_energy as rs
from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.experiments.report import read_rows
from repsim_energy.files.plain_names import is_plain_name, path_beside
from repsim_energy.files.storage import cache_path
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.feature_files import read_features
from repsim_energy.scaffold import write_plugin
from repsim_energy.training.run_files import find_keys

ELSEWHERE = [
    "..",
    ".",
    "",
    "../outside",
    "a/../../outside",
    "/etc/hostname",
    "..\\outside",
    "C:\\outside",
    "C:outside",
    "\\\\host\\share",
    "a//../../outside",
    "file:outside",
]
NOT_PLAIN = [
    "CON",
    "nul",
    "com1.bin",
    "LPT9",
    "aux.tar.gz",
    "CONIN$",
    "a\0b",
    "new\nline",
    "tab\tbed",
    "\x7f",
    "a\u202eb",
    "trailing.",
    "trailing ",
    "x" * 256,
    "é" * 128,
    "a*b",
    "a?b",
    '"',
    "a|b",
    "<a>",
    "\udce9",
]
PLAIN = ["net-00001-of-00002.bin", "w.data", "naïve file.h5", "console.txt", "x" * 255, ".hidden"]


@pytest.mark.parametrize("name", [*ELSEWHERE, *NOT_PLAIN])
def test_a_name_that_is_not_plain_on_every_system_is_refused(name):
    assert not is_plain_name(name)
    with pytest.raises(FileError, match="expected a file in its own folder") as caught:
        path_beside(Path("folder/index.json"), name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_name_is_in_the_folder(name):
    assert path_beside(Path("folder/index.json"), name) == Path("folder", name)


@pytest.fixture
def outside(tmp_path):
    """A file that nothing may read, beside a folder."""
    save_file({"conv1.weight": torch.eye(27)[:8].view(8, 3, 3, 3)}, tmp_path / "outside")
    (tmp_path / "inside").mkdir()
    return tmp_path / "outside"


@pytest.mark.parametrize("name", [*ELSEWHERE, *NOT_PLAIN])
def test_an_index_names_files_beside_it_only(outside, name):
    index = outside.parent / "inside" / "net.index.json"
    name = name.replace("/etc/hostname", str(outside))
    index.write_text(json.dumps({"weight_map": {"conv1.weight": name}}))
    with pytest.raises(FileError, match="own folder"):
        checkpoint(10, 3, path=index)


@pytest.mark.parametrize("name", [n for n in [*ELSEWHERE, *NOT_PLAIN] if n != "\udce9"])
def test_an_onnx_file_names_data_below_its_folder_only(outside, name):
    onnx = pytest.importorskip("onnx")
    kernel = onnx.TensorProto(name="w", dims=[8, 3, 3, 3], data_type=1, data_location=1)
    location = name.replace("/etc/hostname", str(outside))
    kernel.external_data.add(key="location", value=location)
    image = onnx.helper.make_tensor_value_info("image", 1, [1, 3, 8, 8])
    conv = onnx.helper.make_node("Conv", ["image", "w"], ["out"])
    graph = onnx.helper.make_graph([conv], "g", [image], [], [kernel])
    path = outside.parent / "inside" / "net.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(FileError, match="own folder"):
        checkpoint(10, 3, path=path)


def hdf5_elsewhere(path, way, outside):
    """Write a file of features that are in another file, as HDF5 allows it in three ways."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(outside, "w") as file:
        file["fc"] = np.arange(40.0).reshape(10, 4)
    with h5py.File(path, "w") as file:
        scales = [file.create_dataset(name, data=np.arange(n)) for name, n in (("n", 10), ("d", 4))]
        if way == "external storage":
            feature = file.create_dataset("fc", (10, 4), "f4", external=[(str(outside), 0, 160)])
        elif way == "virtual data":
            layout = h5py.VirtualLayout((10, 4), "f8")
            layout[:] = h5py.VirtualSource(str(outside), "fc", (10, 4))
            feature = file.create_virtual_dataset("fc", layout)
        else:
            file["fc"] = h5py.ExternalLink(str(outside), "fc")
            return
        for scale, axis, name in zip(scales, (0, 1), "nd", strict=True):
            scale.make_scale(name)
            feature.dims[axis].attach_scale(scale)


@pytest.mark.process
@pytest.mark.parametrize("way", ["external storage", "virtual data", "link"])
def test_features_and_results_are_in_one_file(outside, way):
    path = outside.parent / "inside" / "x.nc"
    hdf5_elsewhere(path, way, outside)
    for read in (lambda: read_features(path, "order"), lambda: rs.open_result(path)):
        with pytest.raises(FileError, match="'fc' in another file"):
            read()


RUN_IDS = [*ELSEWHERE, *NOT_PLAIN, "*", "[0-9a-f]*", "?", "ab*", "**", "{a,b}", "~", "$HOME"]


@pytest.mark.parametrize("name", RUN_IDS)
def test_an_identifier_of_a_run_is_digits(fresh_cache, name):
    """It is no path and no pattern."""
    key = "ab" * 32
    (cache_path("runs") / key).mkdir(parents=True)
    (fresh_cache / "outside").mkdir()
    with pytest.raises(UsageError, match=r"expected digits 0-9 and a-f") as caught:
        rs.open_run(name)
    assert "\n" not in str(caught.value)
    assert find_keys(name) == ([key] if not name else [])


@pytest.mark.parametrize("name", [*ELSEWHERE, *NOT_PLAIN, "con", "nul", "com1", "prn"])
def test_a_new_plugin_is_a_folder_where_it_was_asked_for(tmp_path, name):
    (tmp_path / "into").mkdir()
    with pytest.raises(UsageError, match="got plugin name"):
        write_plugin(name, "metric", tmp_path / "into")
    assert [p.name for p in tmp_path.rglob("*")] == ["into"]


@pytest.mark.parametrize("name", [*ELSEWHERE, *NOT_PLAIN])
def test_a_stored_reproduction_names_files_of_its_folder(tmp_path, name):
    row = {"names": ["x"], "title": "x", "seconds": 1.0, "scale": "smoke", "scale_summary": "",
           "recipe": "", "data": [], "missing": [], "failures": [], "quantities": [],
           "figure": True, "options": {}}  # fmt: skip
    for key, good in ((name, False), ("table1", True)):
        text = json.dumps({"experiments": {key: row}})
        (tmp_path / "reproduction.json").write_text(text)
        if good:
            assert read_rows(tmp_path).keys() == {"table1"}
        else:
            with pytest.raises(FileError, match="expected the JSON of repsim reproduce"):
                read_rows(tmp_path)


LABELS = ["../../escaped", "/tmp/escaped", "a/b", "CON", "new\nline", "x" * 300, "..", "a*b", "<b>"]


@pytest.fixture
def labeled(tmp_path):
    """A result whose networks and data sets are called like paths, and the folder around it."""
    banks = {label: torch.rand(4, 1, 2, 2) for label in LABELS}
    images = rs.ImageSet(torch.rand(20, 1, 6, 6), torch.zeros(20).long(), (), "../../images")
    result = rs.compare(banks, images)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    rs.save_result(result, folder / "result.nc")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "plot --kind similarity",
        pytest.param("plot --kind profiles", marks=pytest.mark.faults),
        pytest.param("report", marks=pytest.mark.faults),
    ],
)
def test_labels_name_no_files(labeled, command, repsim, tmp_path):
    """Pages and figures of networks with such labels are the one file that was asked for."""
    out = labeled / ("out.html" if command == "report" else "out.svg")
    name, *options = command.split()
    done = repsim(name, str(labeled / "result.nc"), *options, "-o", str(out))
    assert done.returncode == 0, done.stderr
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"a/b/result.nc", f"a/b/{out.name}"}


ODD = ["x" * 300, "x" * 5000, "a/" * 2000 + "b", "new\nline", "", ".", "CON", "~nobody/x"]
if os.name == "posix":
    ODD += ["/dev/null", "/dev/zero", "\udce9.nc"]

READERS = {
    "open_result": rs.open_result,
    "write_report": lambda p: rs.write_report(p, "out.html"),
    "checkpoint": lambda p: checkpoint(10, 3, path=Path(p)),
    "features": lambda p: read_features(Path(p)),
    "profile_network": lambda p: rs.profile_network(p, torch.rand(20, 3, 6, 6)),
    "compare": lambda p: rs.compare([p], torch.rand(20, 3, 6, 6)),
    "folder": lambda p: rs.load_images(f"folder:path={p}"),
    "npz": lambda p: rs.load_images(f"npz:path={p}"),
    "idx": lambda p: rs.load_images(f"idx:path={p}"),
    "images": rs.load_images,
    "picture": lambda p: rs.load_rgb(Path(p)),
    "run": rs.open_run,
    "chunk": lambda p: rs.patch_moments_of_chunks([p], (3, 3)),
    "plugin": lambda p: rs.load_registry([p] if p else ["."]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", [*ODD, "a\0b"], ids=lambda name: ascii(name)[:20])
def test_a_path_that_cannot_be_read_gives_one_line(reader, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RepsimError) as caught:
            READERS[reader](name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == []


COMMANDS = {
    "show": ("show", "{}"),
    "report": ("report", "{}", "-o", "out.html"),
    "plot": ("plot", "{}", "-o", "out.png"),
    "profile": ("profile", "{}"),
    "compare": ("compare", "--models", "w.safetensors", "-o", "{}"),
    "plugins": ("plugins", "new", "mine", "--kind", "metric", "--into", "{}"),
    "plugin": ("--plugin", "{}", "metrics"),
    "basis": ("basis", "--dataset", "{}"),
    "visualize": ("visualize", "{}", "-o", "out.png"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ODD[:3], ids=lambda name: name[:10] + str(len(name)))
def test_a_path_that_no_system_has_gives_an_exit_code(command, name, repsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(save({"w": torch.eye(27)[:8].view(8, 3, 3, 3)}))
    done = repsim(*(part.format(name) for part in COMMANDS[command]))
    assert done.returncode in (1, 2, 4)
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["w.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_cached_run_that_is_a_link_is_not_removed_through_it(fresh_cache, repsim, tmp_path):
    """What is outside of the cache stays, even where an entry of the cache leads there."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "run.json").write_text("{}")
    cache_path("runs").mkdir(parents=True)
    (cache_path("runs") / ("ab" * 32)).symlink_to(victim)
    repsim("cache", "clear", "--yes")
    assert (victim / "run.json").exists()
