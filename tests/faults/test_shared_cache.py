"""One cache for many processes: no error, no torn read, and one training for each run."""

import json
import os
import random
import subprocess
import time
import uuid
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from children import CONTEXT, start
from commands import needs_signals
from samples import both_splits, noise_images, small_cnn

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.interfaces import ModelSpec
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_files import locked
from repsim_energy.training.stored_runs import remove_stored, stored_runs
from repsim_energy.training.training import Training

pytestmark = [pytest.mark.process, needs_signals]

CPU = torch.device("cpu")
DATA = both_splits(noise_images(12, (1, 6, 6)))
RECIPE = Recipe(lr=0.05, batch=6, steps=2, snapshots=1)
TRAINED = "REPSIM_TEST_TRAINED"


def counted(num_classes, in_channels):
    """A network that leaves a mark when its training begins."""
    net = small_cnn(num_classes, in_channels, widths=(2,))

    def begin(module, _):
        if module.training and torch.is_grad_enabled():
            begun.remove()
            Path(os.environ[TRAINED], uuid.uuid4().hex).write_text(os.environ["SEED"])

    begun = net.register_forward_pre_hook(begin)
    return net


MODEL = ModelSpec("counted", counted, {"name": "counted"})


def obtain(seed):
    """The numbers of a run, trained here or read from the cache."""
    os.environ["SEED"] = str(seed)
    run = Training(MODEL, DATA, seed, RECIPE).run(CPU)
    state = run.network().state_dict()
    return run.key, run.trained.sum().item(), sum(float(v.sum()) for v in state.values())


def obtain_though_removed(seed):
    """The same; between training a run and reading its network, it may be removed."""
    try:
        return obtain(seed)
    except RepsimError as error:
        if "was removed from the cache while it was used" not in str(error):
            raise
        return obtain_though_removed(seed)


def obtain_all(seeds, connection, obtained=obtain):
    """Send the numbers of runs, or the first error or warning."""
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            connection.send({seed: obtained(seed) for seed in seeds})
    except BaseException as error:
        connection.send(f"{type(error).__name__}: {error}")


def together(lists, caches, marks):
    """Run processes at the same time; return what each got, and seed -> number of trainings."""
    marks.mkdir()
    ends = []
    for seeds, cache in zip(lists, caches, strict=True):
        ours, theirs = CONTEXT.Pipe()
        env = {TRAINED: str(marks), "REPSIM_CACHE": str(cache)}
        ends.append((ours, start(obtain_all, seeds, theirs, **env)))
        theirs.close()
    got = []
    for ours, child in ends:
        assert ours.poll(300), "a process hangs"
        got.append(ours.recv())
        child.join()
        assert child.exitcode == 0
    return got, Counter(int(mark.read_text()) for mark in marks.iterdir())


def check_equal(got, lists):
    """Every process got every run, with the numbers of all others."""
    expected = {}
    for found, seeds in zip(got, lists, strict=True):
        assert isinstance(found, dict), found
        assert found.keys() == set(seeds)
        for seed, numbers in found.items():
            assert expected.setdefault(seed, numbers) == numbers
    return expected


def check_cache(cache, keys):
    """The cache has these runs, whole, and nothing half."""
    assert {run.key for run in stored_runs()} == keys
    assert {run.damage for run in stored_runs()} == {""}
    assert list(cache.rglob(".*tmp-*")) == []


SIZES = [(2, 2), pytest.param((8, 100), marks=pytest.mark.faults)]


@pytest.mark.parametrize("size", SIZES)
def test_processes_that_want_the_same_runs_train_each_once(size, tmp_path, fresh_cache):
    processes, runs = size
    lists = [[*range(runs)] for _ in range(processes)]
    got, trained = together(lists, [fresh_cache] * processes, tmp_path / "marks")
    numbers = check_equal(got, lists)
    assert trained == dict.fromkeys(range(runs), 1)
    check_cache(fresh_cache, {key for key, *_ in numbers.values()})


@pytest.mark.parametrize("size", SIZES[1:])
def test_processes_with_overlapping_runs_in_any_order_train_each_once(size, tmp_path, fresh_cache):
    processes, runs = size
    rng = random.Random(0)
    lists = [rng.sample(range(2 * runs), runs) for _ in range(processes)]
    got, trained = together(lists, [fresh_cache] * processes, tmp_path / "marks")
    numbers = check_equal(got, lists)
    assert trained == dict.fromkeys(numbers, 1)
    check_cache(fresh_cache, {key for key, *_ in numbers.values()})


@pytest.mark.parametrize("size", SIZES)
def test_machines_whose_locks_do_not_see_each_other_get_equal_runs(size, tmp_path, monkeypatch):
    """Each has a folder of locks of its own; the folder of runs is one."""
    processes, runs = size
    caches = [tmp_path / f"machine{number}" for number in range(2)]
    (tmp_path / "runs").mkdir()
    for cache in caches:
        cache.mkdir()
        (cache / "runs").symlink_to(tmp_path / "runs", target_is_directory=True)
    lists = [[*range(runs)] for _ in range(processes)]
    of_each = [caches[number % 2] for number in range(processes)]
    got, trained = together(lists, of_each, tmp_path / "marks")
    numbers = check_equal(got, lists)
    assert set(trained) == set(range(runs))
    assert max(trained.values()) <= 2
    monkeypatch.setenv("REPSIM_CACHE", str(caches[0]))
    check_cache(tmp_path / "runs", {key for key, *_ in numbers.values()})


def hold(key, connection):
    with locked([key]):
        connection.send("locked")
        time.sleep(600)


def test_the_lock_of_a_killed_process_is_free(tmp_path, fresh_cache, monkeypatch):
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(TRAINED, str(tmp_path / "marks"))
    ours, theirs = CONTEXT.Pipe()
    holder = start(hold, Training(MODEL, DATA, 0, RECIPE).key, theirs)
    assert ours.poll(60)
    holder.kill()
    holder.join()
    assert obtain(0)[0]


@pytest.mark.parametrize("rounds", [pytest.param(400, marks=pytest.mark.faults)])
def test_runs_that_another_process_removes_meanwhile_are_trained_again(
    rounds, tmp_path, fresh_cache, monkeypatch
):
    """As ``repsim cache clear`` does, again and again; runs in training stay."""
    marks, numbers = tmp_path / "marks", [*range(4)] * (rounds // 4)
    marks.mkdir()
    ends = []
    for _ in range(2):
        ours, theirs = CONTEXT.Pipe()
        env = {TRAINED: str(marks), "REPSIM_CACHE": str(fresh_cache)}
        ends.append((ours, start(obtain_all, numbers, theirs, obtain_though_removed, **env)))
    removed = 0
    while any(child.is_alive() and not ours.poll() for ours, child in ends):
        for run in stored_runs():
            removed += remove_stored(run.folder, run.key) == ""
    got = [ours.recv() for ours, _ in ends]
    check_equal(got, [set(numbers)] * 2)
    assert removed > 0


@pytest.fixture
def read_only(tmp_path, fresh_cache):
    """Make the cache a file system that can only be read."""
    fresh_cache.mkdir()
    bind = ["mount", "--bind", str(fresh_cache), str(fresh_cache)]
    try:
        if subprocess.run(bind, capture_output=True).returncode:
            raise FileNotFoundError
    except FileNotFoundError:
        pytest.skip("a file system for reading alone needs the rights to mount one")

    def protect():
        remount = ["mount", "-o", "remount,bind,ro", str(fresh_cache)]
        subprocess.run(remount, check=True)

    yield protect
    subprocess.run(["umount", str(fresh_cache)], check=True)


def test_a_cache_that_can_only_be_read_is_read(read_only, tmp_path, fresh_cache, monkeypatch):
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv(TRAINED, str(tmp_path / "marks"))
    first = obtain(0)
    read_only()
    assert obtain(0) == first
    assert len([*(tmp_path / "marks").iterdir()]) == 1
    with pytest.raises(UsageError, match="set REPSIM_CACHE"):
        obtain(1)
    (run,) = stored_runs()
    try:
        why = remove_stored(run.folder, run.key)
    except RepsimError as error:
        why = str(error)
    assert "Read-only" in why or "cannot be written" in why
    assert obtain(0) == first
    assert json.loads((run.folder / "run.json").read_text())["seed"] == 0
