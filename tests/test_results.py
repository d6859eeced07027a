"""Result files: read back as written, refused when damaged or foreign."""

import contextlib
import os
import random

import netCDF4
import numpy as np
import pytest
import xarray as xr

from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.results import assemble, open_result, save_result, save_results


@pytest.fixture
def result():
    dims = ("dataset", "model", "seed", "dataset_ref", "model_ref", "seed_ref")
    labels = {"dataset": ["d"], "model": ["a", "b"], "seed": list(range(20))}
    coords = {**labels, **{f"{dim}_ref": values for dim, values in labels.items()}}
    values = np.random.default_rng(0).random((1, 2, 20, 1, 2, 20))
    return assemble({"similarity": (dims, values)}, coords, {"none": None}, {"metric": "energy"})


def test_a_result_reads_back_as_written(result, tmp_path):
    save_result(result, tmp_path / "r.nc")
    assert open_result(tmp_path / "r.nc").identical(result)


def test_a_flipped_bit_is_an_error_or_changes_nothing(result, tmp_path):
    path = tmp_path / "r.nc"
    save_result(result, path)
    content = path.read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[generator.randrange(len(content) // 4, len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            found = open_result(path)
        except FileError:
            refused += 1
        else:
            np.testing.assert_array_equal(found.similarity.values, result.similarity.values)
    assert refused > 0


def test_files_that_are_no_results_are_refused(result, tmp_path):
    path = tmp_path / "r.nc"
    with pytest.raises(UsageError, match="no result at"):
        open_result(path)
    save_result(result, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(FileError, match="cannot be read"):
        open_result(path)
    xr.Dataset({"x": 1}).to_netcdf(path)
    with pytest.raises(FileError, match="schema version None"):
        open_result(path)
    result.assign_attrs(schema_version=99).to_netcdf(path)
    with pytest.raises(FileError, match="update repsim-energy"):
        open_result(path)


def test_a_failed_write_keeps_the_old_result(result, tmp_path, files_of_at_most):
    path = tmp_path / "r.nc"
    save_result(result, path)
    size = path.stat().st_size
    for room in (0, 1, size // 2, size - 1):  # of these the last leaves room for a temporary file
        with files_of_at_most(room), pytest.raises(RepsimError, match="could not be written"):
            save_result(result.assign(similarity=-result.similarity), path)
        assert open_result(path).identical(result)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_place_whose_name_is_not_utf8_is_written_and_read(result, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    path = folder / os.fsdecode(b"\xff.nc")
    save_results({"a": result, "b": result}, path)
    assert open_result(path, "b").identical(result)


def test_groups_are_asked_for_by_the_names_that_are_there(result, tmp_path):
    save_results({"a": result, "b": result}, tmp_path / "r.nc")
    for group in (None, "c"):
        with pytest.raises(UsageError, match="expected one of a, b"):
            open_result(tmp_path / "r.nc", group)
    save_result(result, tmp_path / "r.nc")
    with pytest.raises(UsageError, match="without groups"):
        open_result(tmp_path / "r.nc", "a")


def test_every_damage_is_refused_or_changes_nothing(result, tmp_path):
    """Any part of the file, attributes and names included, has a bit flipped or bytes lost."""
    path = tmp_path / "r.nc"
    save_result(result, path)
    content = path.read_bytes()
    generator = random.Random(0)
    read = 0
    for number in range(400):
        damaged = bytearray(content)
        if number % 4:
            damaged[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        else:
            del damaged[generator.randrange(len(content)) :]
        path.write_bytes(damaged)
        with contextlib.suppress(FileError):
            assert open_result(path).identical(result)
            read += 1
    assert read < 10  # where the seal itself is damaged


def test_what_other_software_writes_is_read(result, tmp_path):
    """Without a seal, and with one that a change of the file has made room for."""
    result.to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    assert open_result(tmp_path / "r.nc").identical(result)
    save_result(result, tmp_path / "r.nc")
    assert xr.open_dataset(tmp_path / "r.nc", engine="netcdf4").load().identical(result)
    with netCDF4.Dataset(tmp_path / "r.nc", "a") as file:
        file.note = "mine" * 10_000
    assert open_result(tmp_path / "r.nc").attrs["note"] == "mine" * 10_000


def test_an_unsealed_file_with_a_damaged_attribute_is_refused(result, tmp_path):
    """Whatever netCDF4 raises, it is one error of ours."""
    result.assign_attrs(schema_version="one").to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    with pytest.raises(FileError, match="schema version one"):
        open_result(tmp_path / "r.nc")
    (tmp_path / "r.nc").write_bytes(b"CDF\x05 no netCDF at all")
    with pytest.raises(FileError, match="cannot be read as netCDF4"):
        open_result(tmp_path / "r.nc")
