"""Result files: read back as written, refused when damaged or foreign."""

import random

import numpy as np
import pytest
import xarray as xr

from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.results import assemble, open_result, save_result


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


def test_a_failed_write_keeps_the_old_result(result, tmp_path, monkeypatch):
    save_result(result, tmp_path / "r.nc")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(RepsimError, match="unchanged"):
        save_result(result, tmp_path / "r.nc")
    assert open_result(tmp_path / "r.nc").identical(result)
