"""Several processes: the same result as one, through the cache, whatever becomes of a run."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from commands import needs_signals, wait_until
from samples import (
    MARKS,
    RECIPE,
    TINY,
    Heard,
    broken,
    dies_in_another_process,
    marks_in,
    small_cnn,
    smooth_images,
)

import repsim_energy as rs
from repsim_energy.data.mapped import map_images, unchanged_file
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.scheduling import local
from repsim_energy.scheduling.processes import sent_by_file
from repsim_energy.training.training import Training
from repsim_energy.workers import usable_cores


def refuse_processes(*_):
    pytest.fail("processes were started")


@pytest.fixture
def no_processes(monkeypatch):
    monkeypatch.setattr("loky.ProcessPoolExecutor", refuse_processes)


NAMED = ModelSpec("small", small_cnn, {"name": "small"})
BROKEN = ModelSpec("broken", broken, {"name": "broken"})
DIES = ModelSpec("dies", dies_in_another_process, {"name": "dies"})


def mapped(data, folder):
    """The same images, mapped from a file."""
    np.save(folder / "images.npy", data.train.images.numpy())
    images = replace(data.train, images=map_images(folder / "images.npy"))
    return replace(data, train=images, test=images)


MODELS = [TINY, NAMED, BROKEN, lambda c, i: small_cnn(c, i)]


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """A comparison made in this process, and by two others that map half of the images.

    Gives both results, the steps that the second reported, its images and its cache.
    """
    folder = tmp_path_factory.mktemp("ways")
    images = smooth_images(torch.Generator().manual_seed(0))
    flipped = replace(images, images=images.images.flip(0))
    sets = [Dataset("pictures", images, images), Dataset("flipped", flipped, flipped)]
    told, heard = [sets[0], mapped(sets[1], folder)], Heard()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("REPSIM_CACHE", str(folder / "one"))
        one = rs.compare(MODELS, sets, recipe=RECIPE)
        elsewhere.setenv("REPSIM_CACHE", str(folder / "two"))
        two = rs.compare(MODELS, told, recipe=RECIPE, jobs=2, reporter=heard)
    return one, two, heard, told, folder / "two"


@pytest.mark.process
def test_two_processes_give_the_result_of_one(ways):
    one, two, heard, *_ = ways
    assert two.drop_attrs().identical(one.drop_attrs())
    assert two.attrs["configuration"] == one.attrs["configuration"]
    assert len(heard.ended) == len(set(heard.ended)) == 12
    assert heard.watched == {
        f"{name} <lambda> seed {seed}" for name in ("pictures", "flipped") for seed in (0, 1)
    }


@pytest.mark.process
def test_a_failing_run_leaves_the_others_and_is_named(ways):
    one, two, *_ = ways
    failures = sorted(two.attrs["failures"].splitlines())
    assert failures == sorted(one.attrs["failures"].splitlines())
    names = [(data, seed) for data in ("flipped", "pictures") for seed in (0, 1)]
    for failure, (data, seed) in zip(failures, names, strict=True):
        assert failure.startswith(f"{data} broken seed {seed}: ")
        assert "failed on 12x12 images" in failure
    assert two.similarity.sel(model="broken").isnull().all()
    others = [TINY, "small", "<lambda>"]
    assert two.similarity.sel(model=others, model_ref=others).notnull().all()


@pytest.mark.process
def test_what_two_processes_made_is_kept(ways, monkeypatch, no_processes):
    _, two, _, told, cache = ways
    named = (two.run_id.values != "").reshape(2, 4, 2)
    assert named.all((0, 2)).tolist() == [True, True, False, False]
    monkeypatch.setenv("REPSIM_CACHE", str(cache))
    again = rs.compare(MODELS[:2], told, recipe=RECIPE, jobs=2)
    assert again.energy.identical(two.energy[:, :2])
    both = again.similarity, two.similarity[:, :2, :, :, :2]
    xr.testing.assert_allclose(*both, rtol=0, atol=1e-14)  # sums depend on the number of networks


def told(tasks):
    with sent_by_file(tasks) as path:
        return path.read_bytes()


def test_mapped_images_are_told_by_the_name_of_their_file(data, tmp_path):
    of_file = mapped(data, tmp_path)
    tasks = {(0, 0, seed): Training(NAMED, of_file, seed, RECIPE) for seed in range(3)}
    content = told(tasks)
    assert len(content) < 8000 < of_file.train.images.nbytes < len(pickle.dumps(tasks))
    read = pickle.loads(content)[0, 0, 1].data
    assert read.train.fingerprint == data.train.fingerprint
    assert unchanged_file(read.train.images) == unchanged_file(of_file.train.images)
    of_file.train.images[0, 0, 0, 0] += 1
    read = pickle.loads(told(tasks))[0, 0, 1].data
    assert torch.equal(read.train.images, of_file.train.images)


def test_runs_that_are_kept_start_no_process(data, fresh_cache, no_processes):
    assert not any(Training(NAMED, data, seed, RECIPE).is_cached for seed in range(3))
    first = rs.compare([NAMED], data, recipe=RECIPE, seeds=3)
    assert all(Training(NAMED, data, seed, RECIPE).is_cached for seed in range(3))
    assert not Training(NAMED, data, 3, RECIPE).is_cached
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


def test_the_number_of_processes_is_that_of_the_cores_or_of_the_missing_runs(monkeypatch):
    cores = usable_cores()
    assert 1 <= cores <= os.cpu_count()
    assert local.Local().at_once(10**6) == cores
    assert local.Local(3).at_once(2) == 2
    assert local.Local(3).at_once(0) == 1
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert usable_cores() == 1


@pytest.mark.process
def test_a_process_that_is_ended_from_outside_is_a_failed_training(data, fresh_cache):
    """The others finish, also those that waited for the processes that ended with it."""
    models = [DIES, NAMED, lambda c, i: small_cnn(c, i)]
    found = rs.compare(models, data, recipe=RECIPE, jobs=2)
    failures = found.attrs["failures"].splitlines()
    assert [failure.partition(":")[0] for failure in failures] == ["dies seed 0", "dies seed 1"]
    assert all("a smaller jobs=" in failure for failure in failures)
    others = ["small", "<lambda>"]
    assert found.similarity.sel(model=others, model_ref=others).notnull().all()
    assert len(list(fresh_cache.glob("runs/*"))) == 2


UNGUARDED = """
import torch
import repsim_energy as rs
from repsim_energy.interfaces import ModelSpec
print("begun")

def own(num_classes, in_channels):
    return torch.nn.Sequential(
        torch.nn.Conv2d(in_channels, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, num_classes),
    )

def chunk():
    return torch.zeros(1, 1, 12, 12, dtype=torch.uint8)

print(rs.patch_moments_of_chunks([chunk] * 3, (3, 3), scheduler="local:2").count)
models = [ModelSpec("own", own, {{"name": "own"}}), "linear_cnn:filters=8"]
found = rs.compare(models, "npz:path={path}", recipe="quick:steps=3:batch=16", jobs=2)
print("all compared" if found.similarity.notnull().all() else found.attrs["failures"])
"""


@pytest.mark.process
def test_a_script_needs_no_guard_to_work_in_processes(tmp_path):
    """Its code is run once, and functions that only it defines are known there."""
    images = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=np.arange(200) % 3)
    (tmp_path / "script.py").write_text(UNGUARDED.format(path=tmp_path / "d.npz"))
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path, "REPSIM_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["begun", "300", "all compared"]


INTERRUPTED = """
import os, signal, time
from repsim_energy.workers import submit, worker_pool

with worker_pool(2) as pool:
    for item in range(2):
        submit(pool, time.sleep, 100)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers alone are interrupted first
    time.sleep(0.1)  # they import now
    for _ in range(20):
        os.killpg(0, signal.SIGINT)
        time.sleep(0.05)
    raise KeyboardInterrupt
"""


@needs_signals
@pytest.mark.process
def test_an_interruption_while_workers_start_is_said_by_the_parent_alone(tmp_path):
    """A terminal interrupts all processes of a command."""
    (tmp_path / "script.py").write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


ORPHANS = """
import os, time
from samples import leave_mark

def endless(_):
    leave_mark()
    while True:
        pass

if __name__ == "__main__":
    from repsim_energy.workers import submit, worker_pool
    with worker_pool(2) as pool:
        for item in range(2):
            submit(pool, endless, item)
        if not os.fork():  # it holds all pipes of this process
            time.sleep(100)
        time.sleep(100)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who is there")
@needs_signals
@pytest.mark.process
def test_no_worker_outlives_a_process_whose_pipes_another_holds(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "orphans.py").write_text(ORPHANS)
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "orphans.py")],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, MARKS: str(marks)},
    ) as process:
        try:
            wait_until(lambda: len(marks_in(marks)) == 2, "two workers at work")
            workers = [int(mark.name.split("-")[0]) for mark in marks_in(marks)]
            process.kill()
            wait_until(lambda: not any(map(runs, workers)), "workers ended", 20)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # the group that was started here


def runs(number):
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        return False
    return state[0] != "Z"
