"""Results read lazily, written variable by variable, and joined along a new dimension."""

import os
import tracemalloc

import numpy as np
import pytest
import torch
import xarray as xr

import repsim_energy as rs
from repsim_energy.errors import FileError, RepsimWarning, UsageError
from repsim_energy.files.seals import SEAL_BYTES
from repsim_energy.results import save_results

SIZE = 2_000_000
"""Numbers of the large variable, 16 MB of noise that is not compressed."""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A result with a large variable, and its file."""
    noise = np.random.default_rng(0).random(SIZE)
    result = rs.example_result().assign(noise=("number", noise))
    path = tmp_path_factory.mktemp("large") / "large.nc"
    rs.save_result(result, path)
    return result, path


def peak_bytes(work):
    """Memory that Python objects and arrays take at most; netCDF has its own."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_lazy_result_is_the_result(large):
    result, path = large
    with rs.open_result(path, lazy=True) as lazy:
        assert lazy.identical(result)
        xr.testing.assert_identical(rs.summarize(lazy), rs.summarize(result))


def test_opening_lazily_reads_the_file_part_by_part(large):
    _, path = large

    def work():
        with rs.open_result(path, lazy=True) as lazy:
            assert lazy.sizes["number"] == SIZE
            assert lazy.similarity.notnull().any()

    work()  # imports
    assert peak_bytes(work) < path.stat().st_size / 2
    assert peak_bytes(lambda: rs.open_result(path)) > path.stat().st_size


def test_writing_holds_no_copy_of_the_file(large, tmp_path):
    result, path = large
    assert peak_bytes(lambda: rs.save_result(result, tmp_path / "a.nc")) < path.stat().st_size / 2
    with rs.open_result(path, lazy=True) as lazy:
        rs.save_result(lazy, tmp_path / "b.nc")
    assert rs.open_result(tmp_path / "b.nc").identical(result)


@pytest.mark.parametrize("place", [8, 1000, SIZE * 4, -SEAL_BYTES - 1, -1])
def test_one_changed_byte_is_refused_before_anything_is_parsed(large, tmp_path, place):
    data = bytearray(large[1].read_bytes())
    data[place] ^= 1
    path = tmp_path / "damaged.nc"
    path.write_bytes(data)
    with pytest.raises(FileError, match="is damaged: its bytes are not those that were written"):
        rs.open_result(path, lazy=True)


@pytest.mark.process  # HDF5 opens a file without a seal in another one first
@pytest.mark.parametrize("left", [0, 20, 1000, -1, -SEAL_BYTES])
def test_a_part_of_a_file_is_refused_unless_its_seal_alone_is_missing(tmp_path, left):
    path = tmp_path / "part.nc"
    rs.save_result(rs.example_result(), path)
    path.write_bytes(path.read_bytes()[:left])
    if left == -SEAL_BYTES:
        with pytest.warns(RepsimWarning, match="no checksum"):
            rs.open_result(path, lazy=True).close()
    else:
        with pytest.raises(FileError):
            rs.open_result(path, lazy=True)


@pytest.mark.process
def test_what_is_no_result_is_refused_lazily_too(tmp_path):
    with pytest.raises(UsageError, match="no result at"):
        rs.open_result(tmp_path / "none.nc", lazy=True)
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(FileError, match="no netCDF4 file"):
        rs.open_result(tmp_path / "text.nc", lazy=True)
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc")
    with pytest.raises(FileError, match="schema version None"):
        rs.open_result(tmp_path / "other.nc", lazy=True)


def test_a_group_is_opened_lazily_and_the_file_may_be_replaced(tmp_path):
    path, result = tmp_path / "two.nc", rs.example_result()
    save_results({"one": result, "two": result.assign(extra=3)}, path)
    with pytest.raises(UsageError, match="expected one of one, two"):
        rs.open_result(path, lazy=True)
    with rs.open_result(path, "two", lazy=True) as lazy:
        if os.name == "posix":
            rs.save_result(result, path)
        assert lazy.extra.item() == 3


def banks(count, kernel=3):
    generator = torch.Generator().manual_seed(count)
    return {n: torch.randn(count, 1, kernel, kernel, generator=generator) for n in "ab"}


IMAGES = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_selection_of_joined_results_is_the_result(tmp_path):
    how = {"null": "white", "resamples": 0}
    results = {count: rs.compare(banks(count), IMAGES, **how) for count in (4, 6, 8)}
    joined = rs.join_results(results, "count")
    assert joined.similarity.dims[0] == "count"
    assert joined.eigenvalue.dims == ("dataset", "component")  # equal in all
    for count, result in results.items():
        part = joined.sel(count=count)
        for name, variable in result.data_vars.items():
            xr.testing.assert_identical(part[name].variable, variable.variable)
        xr.testing.assert_equal(rs.summarize(part), rs.summarize(result))
    with pytest.raises(UsageError, match=r"sel\(count=4\)"):
        rs.summarize(joined)
    rs.save_result(joined, tmp_path / "joined.nc")
    assert rs.open_result(tmp_path / "joined.nc").identical(joined)


def test_joined_results_of_other_sizes_and_nulls_are_padded_and_described():
    parts = {
        "small": rs.compare(banks(4, 2), IMAGES, null="white", resamples=0),
        "large": rs.compare(banks(4, 3), IMAGES, null="metric", resamples=0),
    }
    joined = rs.join_results(parts, "kernel")
    assert joined.energy.sel(kernel="small").notnull().sum("component").max() == 4
    assert joined.null.sel(kernel="small").item() == "white"
    again = rs.join_results({1: joined, 2: joined}, "run")
    assert again.energy.dims[:2] == ("run", "kernel")
    xr.testing.assert_identical(again.energy.sel(run=2, drop=True), joined.energy)
    with pytest.raises(UsageError, match="run, kernel"):
        rs.summarize(again)


def test_what_cannot_be_joined_is_refused():
    result = rs.example_result()
    for results, dim, message in (
        ({}, "x", "no results"),
        ([result], "x", "no results"),
        ({"a": "file.nc"}, "x", "rs.open_result"),
        ({"a": result}, "model", "have already"),
        ({"a": result, 1: result}, "x", "numbers, or texts"),
        ({(1, 2): result}, "x", "numbers, or texts"),
    ):
        with pytest.raises(UsageError, match=message):
            rs.join_results(results, dim)
