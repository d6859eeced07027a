"""``repsim plot`` writes what Python draws, in the format of the suffix."""

import csv
import io
import sys

import numpy as np
import pytest
from samples import LEAVES, RECIPE, TINY, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.plot.kinds import KINDS
from repsim_energy.results import save_results

BEGINNINGS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def results(shared_cache, tmp_path_factory):
    """A file of a metric on filters, one of a metric on activations, and one with both."""
    folder = tmp_path_factory.mktemp("results")
    filters = rs.compare(TINY, LEAVES, recipe=RECIPE, seeds=2, jobs=1)
    images = noise_images(20, (3, 8, 8))
    activations = rs.compare({"a": small_cnn(2, 3), "b": small_cnn(2, 3)}, images, "cka")
    rs.save_result(filters, folder / "filters.nc")
    rs.save_result(activations, folder / "activations.nc")
    save_results({"one": filters, "two": activations}, folder / "both.nc")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written(repsim, results, tmp_path, kind):
    target = tmp_path / f"{kind}.svg"
    done = repsim("plot", str(results / "filters.nc"), "--kind", kind, "-o", str(target))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert target.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_the_suffix_decides_and_equal_input_gives_equal_bytes(repsim, results, tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        target = tmp_path / f"{name}.{suffix.upper() if name == 'b' else suffix}"
        args = ("plot", str(results / "filters.nc"), "--kind", "spectrum", "-o", str(target))
        assert repsim(*args).returncode == 0
        contents.append(target.read_bytes())
    assert contents[0].startswith(BEGINNINGS[suffix])
    assert contents[0] == contents[1]


def test_the_csv_has_the_numbers_of_python(repsim, results):
    path = results / "filters.nc"
    done = repsim("plot", str(path), "--kind", "profiles", "--stage", "init", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    energy = rs.open_result(path).energy.sel(stage="init")
    expected = (energy / energy.max("component")).mean("seed").values.ravel()
    np.testing.assert_allclose([float(row["mean"]) for row in rows], expected, rtol=1e-12)


def test_a_group_of_a_file_is_chosen(repsim, results, tmp_path):
    path, target = str(results / "both.nc"), str(tmp_path / "x.svg")
    done = repsim("plot", path, "--kind", "similarity", "-o", target, "--group", "two")
    assert done.returncode == 0
    done = repsim("plot", path, "--kind", "similarity", "-o", target)
    assert done.returncode == 2
    assert "one, two" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("activations.nc", "--kind", "fit", "-o", "x.svg"), "kinds of this result are similarity"),
        (("activations.nc", "-o", "x.svg"), "expected --kind with one of similarity"),
        (("filters.nc", "-o", "x.svg"), "profiles, residuals, similarity, intervals, fit, filters"),
        (("filters.nc", "--kind", "filtres", "-o", "x.svg"), "did you mean 'filters'?"),
        (("filters.nc", "--kind", "fit", "-o", "x.gif"), "ends in .svg, .pdf, .png"),
        (("filters.nc", "--kind", "fit", "-o", "nowhere/x.svg"), "nowhere"),
        (("filters.nc", "--kind", "fit"), "expected -o with a file such as profiles.svg"),
        (("filters.nc", "--kind", "spectrum", "-o", "x.svg", "--stage", "init"), "got --stage"),
        (("filters.nc", "--kind", "spectrum", "--csv", "--order", "given"), "got --order"),
        (("filters.nc", "--kind", "fit", "-o", "x.svg", "--stage", "last"), "unknown stage 'last'"),
        (("missing.nc", "--kind", "fit", "-o", "x.svg"), "no result at"),
    ],
)
def test_mistakes_end_in_one_line(repsim, results, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    done = repsim("plot", str(results / args[0]), *args[1:])
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_are_numbers_alone(repsim, results, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = str(results / "filters.nc")
    done = repsim("plot", path, "--kind", "profiles", "-o", str(tmp_path / "x.svg"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: figures need matplotlib")
    assert repsim("plot", path, "--kind", "profiles", "--csv").returncode == 0
    with pytest.raises(rs.UsageError, match="figures need matplotlib"):
        rs.plot.profiles(rs.open_result(path))
