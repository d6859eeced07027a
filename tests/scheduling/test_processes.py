"""Several processes: the same result as one, through the cache, whatever becomes of a run."""

import multiprocessing
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import repsim_energy as rs
from repsim_energy.data.mapped import file_of, map_images
from repsim_energy.interfaces import ModelSpec
from repsim_energy.scheduling import processes
from repsim_energy.training.runs import is_cached

RECIPE = rs.Recipe(lr=0.05, batch=20, steps=6, snapshots=3)
TINY = "linear_cnn:filters=8:sigma=0.1"


def refuse_processes(*_):
    pytest.fail("processes were started")


@pytest.fixture
def no_processes(monkeypatch):
    monkeypatch.setattr(processes, "ProcessPoolExecutor", refuse_processes)


def small_cnn(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, num_classes),
    )  # fmt: skip


def broken(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Flatten(), nn.Linear(7, num_classes))


def dies_in_another_process(num_classes, in_channels):
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return small_cnn(num_classes, in_channels)


NAMED = ModelSpec("small", small_cnn, {"name": "small"})
BROKEN = ModelSpec("broken", broken, {"name": "broken"})
DIES = ModelSpec("dies", dies_in_another_process, {"name": "dies"})


def test_two_processes_give_the_result_of_one_and_keep_it(data, tmp_path, monkeypatch):
    models = [TINY, NAMED, lambda c, i: small_cnn(c, i)]
    arguments = {"models": models, "dataset": data, "recipe": RECIPE}
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "one"))
    one = rs.compare(**arguments)
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "two"))
    steps = []
    two = rs.compare(**arguments, jobs=2, progress=steps.append)
    assert two.drop_attrs().identical(one.drop_attrs())
    assert two.attrs["configuration"] == one.attrs["configuration"]
    assert (two.run_id.values != "").reshape(3, 2).all(1).tolist() == [True, True, False]
    done = [step.label for step in steps if step.step == step.steps]
    assert len(done) == len(set(done)) == 6
    trained_here = {step.label for step in steps if step.steps > 1}
    assert trained_here == {"<lambda> seed 0", "<lambda> seed 1"}

    monkeypatch.setattr(processes, "ProcessPoolExecutor", refuse_processes)
    again = rs.compare(models[:2], data, recipe=RECIPE, jobs=2)
    assert again.similarity.identical(two.similarity[:, :2, :, :, :2])


@pytest.fixture
def mapped(data, tmp_path):
    np.save(tmp_path / "images.npy", data.train.images.numpy())
    images = replace(data.train, images=map_images(tmp_path / "images.npy"))
    return replace(data, train=images, test=images)


def test_mapped_images_are_told_by_the_name_of_their_file(data, mapped):
    tasks = {(0, 0, seed): (NAMED, mapped, seed, RECIPE) for seed in range(3)}
    content = processes._told(tasks)
    assert len(content) < 8000 < mapped.train.images.nbytes < len(pickle.dumps(tasks))
    told = pickle.loads(content)[0, 0, 1][1]
    assert told.train.fingerprint == data.train.fingerprint
    assert file_of(told.train.images) == file_of(mapped.train.images)
    mapped.train.images[0, 0, 0, 0] += 1
    told = pickle.loads(processes._told(tasks))[0, 0, 1][1]
    assert torch.equal(told.train.images, mapped.train.images)


def test_processes_that_map_the_images_train_the_same(data, mapped, tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "one"))
    one = rs.compare([NAMED], data, recipe=RECIPE)
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "two"))
    assert (
        rs.compare([NAMED], mapped, recipe=RECIPE, jobs=2).drop_attrs().identical(one.drop_attrs())
    )


def test_runs_that_are_kept_start_no_process(data, fresh_cache, no_processes):
    assert not any(is_cached(NAMED, data, seed, RECIPE) for seed in range(3))
    first = rs.compare([NAMED], data, recipe=RECIPE, seeds=3)
    assert all(is_cached(NAMED, data, seed, RECIPE) for seed in range(3))
    assert not is_cached(NAMED, data, 3, RECIPE)
    stamps = {path: path.stat().st_mtime_ns for path in fresh_cache.glob("runs/*/*")}
    again = rs.compare([NAMED], data, recipe=RECIPE, seeds=3, jobs=2)
    assert again.similarity.identical(first.similarity)
    assert {path: path.stat().st_mtime_ns for path in fresh_cache.glob("runs/*/*")} == stamps


def test_one_missing_run_starts_no_process(data, fresh_cache, no_processes):
    rs.compare([TINY], data, recipe=RECIPE, seeds=1)
    assert rs.compare([TINY], data, recipe=RECIPE, seeds=2, jobs=8).similarity.notnull().all()


@pytest.mark.parametrize("identity", [None, {"name": "own"}])
def test_code_that_only_this_process_knows_is_trained_here(
    identity, data, fresh_cache, no_processes
):
    here = []

    def build(num_classes, in_channels):
        here.append(os.getpid())
        return small_cnn(num_classes, in_channels)

    found = rs.compare([ModelSpec("own", build, identity)], data, recipe=RECIPE, jobs=2)
    assert found.similarity.notnull().all()
    assert set(here) == {os.getpid()}


def test_the_number_of_processes_is_that_of_the_cores_or_of_the_missing_runs(tmp_path, monkeypatch):
    cores = processes.usable_cores()
    assert 1 <= cores <= os.cpu_count()
    assert processes.Local().at_once(10**6) == cores
    assert processes.Local(3).at_once(2) == 2
    assert processes.Local(3).at_once(0) == 1
    monkeypatch.setattr(processes, "QUOTA", tmp_path / "cpu.max")
    for text, expected in (("max 100000", cores), ("100000 100000", 1), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert processes.usable_cores() == expected


def test_a_failing_run_leaves_the_others_and_is_named(data, fresh_cache):
    found = rs.compare([BROKEN, TINY], data, recipe=RECIPE, jobs=2)
    alone = rs.compare([BROKEN, TINY], data, recipe=RECIPE)
    failures = sorted(found.attrs["failures"].splitlines())
    assert failures == alone.attrs["failures"].splitlines()
    for seed, failure in enumerate(failures):
        assert failure.startswith(f"broken seed {seed}: ")
        assert "failed on 12x12 images" in failure
    assert len(failures) == 2
    assert found.similarity.sel(model="broken").isnull().all()
    assert found.similarity.sel(model=TINY, model_ref=TINY).notnull().all()
    assert found.similarity.identical(alone.similarity)


def test_a_process_that_is_ended_from_outside_is_a_failed_training(data, fresh_cache):
    found = rs.compare([DIES, lambda c, i: small_cnn(c, i)], data, recipe=RECIPE, jobs=2)
    failures = found.attrs["failures"].splitlines()
    assert len(failures) == 2
    assert all("dies seed" in f and "fewer --jobs" in f for f in failures)
    assert found.similarity.sel(model="<lambda>", model_ref="<lambda>").notnull().all()
    assert list(fresh_cache.glob("runs/*")) == []
