"""Result files: read back as written, refused when damaged or foreign."""

import contextlib
import gzip
import itertools
import os
import random
import statistics
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
from samples import noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.cli.result_text import print_result
from repsim_energy.errors import FileError, RepsimError, RepsimWarning, UsageError
from repsim_energy.files.seals import SEAL_BYTES
from repsim_energy.results import (
    Variable,
    assemble,
    open_result,
    save_result,
    save_results,
    summarize,
)

VERSION1 = Path(__file__).parent / "version1"
"""Files that the code of commit 9b0816d wrote, the last of version 1; ``make.py`` made them."""


@pytest.fixture
def result():
    dims = ("dataset", "model", "seed", "dataset_ref", "model_ref", "seed_ref")
    labels = {"dataset": ["d"], "model": ["a", "b"], "seed": list(range(20))}
    coords = {**labels, **{f"{dim}_ref": values for dim, values in labels.items()}}
    values = np.random.default_rng(0).random((1, 2, 20, 1, 2, 20))
    similarity = Variable(dims, values, "similarity")
    return assemble({"similarity": similarity}, coords, {"none": None}, {"metric": "energy"})


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


@pytest.mark.process
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


@pytest.mark.process
def test_every_trace_of_a_seal_is_noticed_before_hdf5_reads_anything(result, tmp_path, monkeypatch):
    """Without its whole seal the content is whole, and is read with a warning that it has none."""
    path = tmp_path / "r.nc"
    save_result(result, path)
    content, seal = path.read_bytes()[:-SEAL_BYTES], path.read_bytes()[-SEAL_BYTES:]
    path.write_bytes(content)
    with pytest.warns(RepsimWarning, match="no checksum"):
        assert open_result(path).identical(result)
    monkeypatch.setattr(netCDF4, "Dataset", None)  # whoever calls it fails otherwise
    other = bytes(255 - byte for byte in seal)
    for length in range(1, SEAL_BYTES):
        parts = (seal[:length], seal[length:], other[:length] + seal[length:])
        for damaged in (*parts, seal[:length] + other[length:], seal + seal[:length]):
            path.write_bytes(content + damaged)
            with pytest.raises(FileError, match="damaged"):
                open_result(path)
    for damaged in (content[:-1], content[:-1] + seal, content + content + seal, seal, b""):
        path.write_bytes(damaged)
        with pytest.raises(FileError, match="damaged|no netCDF4 file"):
            open_result(path)


@pytest.mark.process
def test_what_other_software_writes_is_read(result, tmp_path):
    """Without a seal, and where a change of the file has removed it; with a warning."""
    path = tmp_path / "r.nc"
    for kind in ("NETCDF4", "NETCDF3_64BIT"):
        result.to_netcdf(path, engine="netcdf4", format=kind)
        with pytest.warns(RepsimWarning, match="no checksum.*save_result"):
            assert open_result(path).equals(result)
    save_result(result, path)
    assert xr.open_dataset(path, engine="netcdf4").load().identical(result)
    with netCDF4.Dataset(path, "a") as file:
        file.note = "mine" * 10_000
    with pytest.warns(RepsimWarning, match="no checksum.*save_result"):
        changed = open_result(path)
    assert changed.attrs["note"] == "mine" * 10_000
    save_result(changed, path)
    assert open_result(path).identical(changed)


@pytest.mark.process
def test_an_unsealed_file_with_a_damaged_attribute_is_refused(result, tmp_path):
    """Whatever netCDF4 raises, it is one error of ours."""
    result.assign_attrs(schema_version="one").to_netcdf(tmp_path / "r.nc", engine="netcdf4")
    with pytest.raises(FileError, match="schema version one"):
        open_result(tmp_path / "r.nc")
    (tmp_path / "r.nc").write_bytes(b"CDF\x05 no netCDF at all")
    with pytest.raises(FileError, match="cannot be read as netCDF4"):
        open_result(tmp_path / "r.nc")


def version1(name, folder):
    """Unpack a file of version 1 and return its path."""
    path = folder / f"{name}.nc"
    path.write_bytes(gzip.decompress((VERSION1 / f"{name}.nc.gz").read_bytes()))
    return path


def as_made(metric):
    """Return today's result of the networks and images of version 1's files, with other numbers."""
    sets = [rs.Dataset(name, *(noise_images(30, (1, 6, 6)),) * 2) for name in "xy"]
    models = {"given": small_cnn(2, 1), "trained": small_cnn}
    return rs.compare(models, sets, metric, recipe=rs.Recipe(steps=1, batch=10), seeds=1)


FACTS = {
    "energy": {
        "channels": ("model", ["rgb", "rgb"]),
        "components_without_variance": ("dataset", [0, 0]),
        "first_layer": ("model", ["0", "0"]),
        "folded": ("model", ["1 (BatchNorm2d)", ""]),
        "patch_products": ("dataset", ["int8", "int8"]),
    },
    "cka": {
        "channels": ("model", ["rgb", "rgb"]),
        "n_images": ("dataset", [20, 20]),
        "images_from": ("dataset", ["test", "test"]),
        "normalization": ("model", ["none", "dataset"]),
    },
}


NOT_IN_VERSION_1 = {
    *("fit_profile", "theory_residual", "beyond_theory", "beyond_null_low", "beyond_null_high"),
    *("pool", "tokens", "layer_name"),
    *("half_similarity", "ci_low", "ci_high", "n", "n_missing"),
    *("null_threshold", "p_value", "calibrated", "reliability", "filters_left_out"),
}
"""Variables and coordinates that were added later, and that version 1 does not have."""


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
@pytest.mark.parametrize("metric", FACTS)
def test_a_file_of_version_1_is_read_in_the_form_of_version_2(metric, tmp_path):
    path = version1(metric, tmp_path)
    old, new, today = (
        xr.open_dataset(path, engine="netcdf4").load(),
        open_result(path),
        as_made(metric),
    )
    assert (old.attrs["schema_version"], new.attrs["schema_version"]) == (1, 2)
    xr.testing.assert_identical(
        new.drop_vars(set(new.coords) - set(old.coords)).drop_attrs(deep=False),
        old.drop_attrs(deep=False),
    )
    for name, (dim, values) in FACTS[metric].items():
        assert new[name].dims == (dim,)
        assert new[name].values.tolist() == values
    for name, length in {"dataset_fingerprint": 64, "basis_id": 16}.items():
        if name in today.coords:
            assert ",".join(new[name].values) == old.attrs[name]
            assert {len(text) for text in new[name].values} == {length}
    assert {*new.attrs, "command", "null", "interval_over", "bounds"} == set(today.attrs)
    assert set(new.variables) == set(today.variables) - NOT_IN_VERSION_1
    for name in set(new.coords) - set(old.coords):
        assert new[name].dims == today[name].dims
        assert new[name].dtype.kind == today[name].dtype.kind
        assert new[name].attrs == today[name].attrs
    one = new.isel(dataset=1).sel(model="given")
    assert one.dataset_fingerprint.item() == old.attrs["dataset_fingerprint"].split(",")[1]
    save_result(new, path)
    assert open_result(path).identical(new)


def test_groups_of_version_1_are_read_too(tmp_path):
    old = xr.open_dataset(version1("energy", tmp_path), engine="netcdf4").load()
    save_results({"a": old, "b": old.isel(dataset=[1])}, tmp_path / "r.nc")
    found = open_result(tmp_path / "r.nc", "a")
    assert found.identical(open_result(tmp_path / "energy.nc"))
    assert open_result(tmp_path / "r.nc", "b").attrs["basis_id"] == old.attrs["basis_id"]


def test_texts_of_version_1_that_cannot_be_told_apart_stay_attributes(tmp_path):
    """A layer's name may hold a comma; arithmetic was listed for all data sets together."""
    old = xr.open_dataset(version1("energy", tmp_path), engine="netcdf4").load()
    old.attrs |= {"first_layers": "stem,a,0", "patch_products": "float64,int8"}
    save_result(old, tmp_path / "r.nc")
    found = open_result(tmp_path / "r.nc")
    for name in ("first_layers", "patch_products"):
        assert found.attrs[name] == old.attrs[name]
        assert name.removesuffix("s") not in found.coords


@pytest.mark.filterwarnings("ignore:the data sets have different patch bases")
def test_facts_of_a_part_of_a_result_are_those_of_the_part():
    torch.manual_seed(0)
    gray, banks = noise_images(20, (1, 8, 8)), {"a": torch.randn(4, 1, 3, 3), "b": small_cnn(2, 1)}
    sets = [
        rs.Dataset("x", gray, gray),
        rs.Dataset("y", *(noise_images(30, (1, 8, 8), seed=1),) * 2),
    ]
    whole = rs.compare(banks, sets)
    for d, data in enumerate(sets):
        part = whole.isel(dataset=d)
        alone = rs.compare(banks, [data])
        for name in ("basis_id", "dataset_fingerprint", "components_without_variance"):
            assert part[name].item() == alone[name].item()
    assert whole.basis_id.values[0] != whole.basis_id.values[1]
    for label in banks:
        alone = rs.compare({label: banks[label]}, sets)
        for name in ("first_layer", "folded", "channels"):
            assert whole[name].sel(model=label).item() == alone[name].item()


def random_result(sizes, missing, seed=0):
    """A result of random similarities, a share of them NaN."""
    generator = np.random.default_rng(seed)
    labels = {dim: [f"{dim}{i}" for i in range(size)] for dim, size in sizes.items()}
    coords = labels | {f"{dim}_ref": values for dim, values in labels.items()}
    variables = {}
    for name in ("similarity", "null_low", "null_high"):
        values = generator.random([len(values) for values in coords.values()])
        values[generator.random(values.shape) < missing] = np.nan
        variables[name] = Variable(tuple(coords), values, name)
    return assemble(variables, coords, {}, {})


def seeds_between(block, a, b):
    """The pairs of seeds that count between two groups (dataset, model, layer)."""
    seeds = range(len(block))
    if a == b:
        return [(s, t) for s in seeds for t in seeds if s < t]
    different = [(s, t) for s in seeds for t in seeds if s != t]
    if a[:2] == b[:2] and any(np.isfinite(block[pair]) for pair in different):
        return different
    return [(s, t) for s in seeds for t in seeds]


@pytest.mark.parametrize("missing", [0, 0.5, 0.95])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_summary_is_the_mean_over_pairs_of_seeds_that_a_loop_finds(seeds, layers, missing):
    sizes = {"dataset": 2, "model": 2, "seed": seeds, "layer": layers}
    result = random_result(sizes, missing)
    summary = summarize(result)
    groups = [(d, m, n) for d in range(2) for m in range(2) for n in range(layers)]
    for (i, a), (j, b) in itertools.product(enumerate(groups), repeat=2):
        ends = dict(zip(("dataset", "model", "layer"), a, strict=True))
        ends |= dict(zip(("dataset_ref", "model_ref", "layer_ref"), b, strict=True))
        blocks = {name: result[name].isel(ends).values for name in result.data_vars}
        values = {
            name: [x for p in seeds_between(block, a, b) if np.isfinite(x := block[p])]
            for name, block in blocks.items()
        }
        for name, source in {"mean": "similarity", "null_low": "null_low"}.items():
            expected = statistics.fmean(values[source]) if values[source] else np.nan
            np.testing.assert_allclose(summary[name][i, j], expected, rtol=1e-12)
        several = len(values["similarity"]) > 1
        expected = statistics.stdev(values["similarity"]) if several else np.nan
        np.testing.assert_allclose(summary["spread"][i, j], expected, rtol=1e-12)


def test_a_summary_is_of_a_square_of_networks():
    result = random_result({"dataset": 1, "model": 3, "seed": 2}, 0)
    part = {"model": [0, 2], "model_ref": [0, 2]}
    whole = summarize(result)
    assert summarize(result.isel(part)).equals(whole.isel(group=[0, 2], group_ref=[0, 2]))
    assert summarize(result.isel(dataset=0, dataset_ref=0)).equals(whole)
    for wrong in (
        {"model": [0]},
        {"seed": 0, "seed_ref": 0},
        {"model": [0, 1], "model_ref": [1, 0]},
    ):
        with pytest.raises(UsageError, match="expected the same labels"):
            summarize(result.isel(wrong))
    with pytest.raises(UsageError, match="without 'similarity'"):
        summarize(result.drop_vars("similarity"))


def test_a_file_of_version_1_is_printed_as_it_was(tmp_path, capsys):
    print_result(open_result(version1("energy", tmp_path)))
    lines = capsys.readouterr().out.splitlines()
    assert "filters of layer 0 of given, 0 of trained" in lines
    assert "folded into them: 1 (BatchNorm2d) of given" in lines
