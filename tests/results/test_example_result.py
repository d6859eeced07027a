"""The result that ships with the package: it is what the package makes today, and it is whole."""

import numpy as np
import pytest
import torch
from make_example import COMMAND
from samples import RECIPE, TINY, noise_images

import repsim_energy as rs
from repsim_energy.results.example import STORED
from repsim_energy.training.shipped_runs import SHIPPED

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")


@pytest.fixture(scope="module")
def example():
    return rs.example_result()


def test_it_has_everything_that_a_result_of_today_has(example):
    today = rs.compare(
        ["vgg11:width=0.1", "resnet18:width=0.125"],
        noise_images(20, (3, 16, 16)),
        recipe=RECIPE,
        seeds=1,
    )
    assert example.attrs["schema_version"] == today.attrs["schema_version"]
    assert set(example.variables) == set(today.variables)
    assert set(example.attrs) == {*today.attrs, "command"}
    for name, variable in today.variables.items():
        assert example[name].dims == variable.dims
        assert example[name].attrs == variable.attrs


def test_it_is_small_and_of_the_command_that_it_names(example):
    assert STORED.stat().st_size + SHIPPED.stat().st_size < 150_000
    assert example.attrs["command"] == COMMAND
    assert example.attrs["failures"] == ""


def test_it_has_numbers_for_every_table(example):
    assert (example.sizes["model"], example.sizes["seed"]) == (2, 2)
    assert rs.pairs(example).notna().all(axis=None)
    assert rs.profiles(example).notna().all(axis=None)
    assert rs.table(example, "n").values.tolist() == [[1, 4], [4, 1]]
    assert example.sizes["snapshot"] >= 5
    assert example.snapshot_energy.notnull().all()


def test_its_runs_can_be_opened(example):
    for place in np.ndindex(example.run_id.shape):
        network = example.isel(dict(zip(("dataset", "model", "seed"), place, strict=True)))
        run = rs.open_run(network.run_id.item())
        assert run.seed == network.seed.item()
        assert run.layer == network.first_layer.item()
        assert run.history.steps == network.steps.item() == len(run.history.loss)
        assert run.test_accuracy == network.test_accuracy.item()
        assert run.history.snapshot_steps.tolist() == network.snapshot_step.values.tolist()
        assert len(run.history.evaluations) == len(run.history.evaluation_steps) == 8
        change = run.filters["trained"] - run.filters["init"]
        projected = change.double().flatten(1).numpy() @ (
            network.components.values.reshape(27, 27).T
        )
        energy = np.sqrt((projected**2).mean(0))
        np.testing.assert_allclose(energy, network.energy.sel(stage="change"), rtol=1e-5)


def test_a_run_of_the_cache_is_the_training(fresh_cache):
    images = noise_images(20, (3, 8, 8))
    result = rs.compare(TINY, images, recipe=RECIPE, seeds=[3])
    (run_id,) = result.run_id.values.ravel()
    run = rs.open_run(run_id[:4].upper())
    assert (run.run_id, run.model, run.dataset, run.seed) == (run_id, TINY, "noise", 3)
    assert run.recipe == RECIPE
    assert run.model_options["filters"] == "8"
    assert run.folder.parent == fresh_cache / "runs"
    weights = run.folder / "model.safetensors"
    again = rs.compare(
        [TINY, f"file=checkpoint:path={weights}"], images, recipe=RECIPE, seeds=[3], stage="trained"
    )
    assert float(rs.pairs(again).similarity[0]) == pytest.approx(1, abs=1e-6)


def test_runs_that_are_not_there_are_refused_in_one_line(fresh_cache):
    for wrong, message in (
        ("", "expected digits 0-9 and a-f"),
        ("../x", "expected digits 0-9 and a-f"),
        (7, "expected digits 0-9 and a-f"),
        ("0" * 16, "no run in the cache"),
    ):
        with pytest.raises(rs.UsageError, match=message):
            rs.open_run(wrong)
    runs = fresh_cache / "runs"
    for name in ("ab12" + "0" * 60, "ab13" + "0" * 60):
        (runs / name).mkdir(parents=True)
    with pytest.raises(rs.UsageError, match=r"2 runs begin with 'ab1', .*ab12000000000000, ab13"):
        rs.open_run("ab1")
    with pytest.raises(rs.FileError, match="cannot be read"):
        rs.open_run("ab12")
    assert (runs / ("ab12" + "0" * 60)).exists()


def test_a_damaged_run_is_an_error_and_stays(fresh_cache):
    result = rs.compare(TINY, noise_images(20, (3, 8, 8)), recipe=RECIPE, seeds=1)
    run = rs.open_run(result.run_id.item())
    path = run.folder / "filters.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(rs.FileError, match="is not what was written"):
        rs.open_run(run.run_id)
    assert path.exists()


def test_images_are_those_that_compare_reads(photos):
    data = rs.load_images("deadleaves:count=60+random_labels")
    result = rs.compare(torch.rand(4, 3, 3, 3), "deadleaves:count=60", stage="trained")
    assert data.train.fingerprint != result.dataset_fingerprint.item()
    plain = rs.load_images("deadleaves:count=60")
    assert plain.train.fingerprint == result.dataset_fingerprint.item()
    assert torch.equal(plain.train.images, data.train.images)
    folder = rs.load_images(photos)
    assert folder.train.classes == ("cat", "dog")
    assert rs.load_images(str(photos)).train.fingerprint == folder.train.fingerprint
    with pytest.raises(rs.UsageError, match="expected the spec of a data set"):
        rs.load_images(torch.rand(2, 3, 8, 8))
