"""The cache is listed as it is, and only whole runs are removed from it."""

import json
import os
import shutil
import time
from types import SimpleNamespace

import click
import filelock
import pytest
from samples import LEAVES, RECIPE, TINY

import repsim_energy as rs
from repsim_energy.cli import cache, cache_limits
from repsim_energy.training import stored_runs as module
from repsim_energy.training.stored_runs import stored_runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cache with three runs, and their result."""
    folder = tmp_path_factory.mktemp("trained") / "cache"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REPSIM_CACHE", str(folder))
        return folder, rs.compare(TINY, LEAVES, seeds=3, recipe=RECIPE)


@pytest.fixture
def result(trained, fresh_cache):
    """The result of three runs in a cache that the test may change."""
    folder, result = trained
    shutil.copytree(folder, fresh_cache)
    return result


def content(folder):
    """Path -> bytes of every file, without locks, which are made by looking at them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "locks"
    }


def listed(repsim):
    return json.loads(repsim("cache", "list", "--json").stdout)


def test_runs_are_listed_with_what_made_them(result, repsim, fresh_cache):
    found = listed(repsim)
    assert found["folder"] == str(fresh_cache)
    ids = result.run_id.values.ravel().tolist()
    assert sorted(one["run_id"] for one in found["runs"]) == sorted(ids)
    for one in found["runs"]:
        run = rs.open_run(one["run_id"])
        assert one["folder"] == str(run.folder)
        assert one["made_by"]["recipe"] == run.recipe.as_options()
        made_by = [one["made_by"][name] for name in ("model", "dataset", "seed", "steps")]
        assert made_by == [run.model, run.dataset, run.seed, run.history.steps]
        assert one["bytes"] == sum(path.stat().st_size for path in run.folder.iterdir())
        assert one["damage"] == ""
    whole = sum(len(data) for data in content(fresh_cache).values())
    of_others = sum(other["bytes"] for other in found["other"].values())
    assert sum(one["bytes"] for one in found["runs"]) + of_others == whole


def test_the_table_names_each_run_and_folder(result, repsim):
    text = repsim("cache").stdout
    assert repsim("cache", "list").stdout == text
    for run_id in result.run_id.values.ravel():
        assert run_id in text
    assert all(word in text for word in (TINY, LEAVES.partition(":")[0], "locks", "runs"))


def test_the_path_is_that_of_the_variable_and_nothing_is_made(repsim, tmp_path):
    for name in ("one", "two"):
        place = tmp_path / name
        assert repsim("cache", "path", REPSIM_CACHE=str(place)).stdout == f"{place}\n"
        done = repsim("cache", REPSIM_CACHE=str(place))
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(repsim("cache", "list", "--json", REPSIM_CACHE=str(place)).stdout) == {
            "folder": str(place),
            "runs": [],
            "unfinished": [],
            "other": {},
        }
        assert not place.exists()
        assert "no run to remove" in repsim("cache", "clear", REPSIM_CACHE=str(place)).stderr


@pytest.fixture
def strangers(result, fresh_cache):
    """Things in the cache that are not runs: by name, by content, or by being links."""
    runs = fresh_cache / "runs"
    model = next(run.folder for run in stored_runs())
    (runs / "notes.txt").write_text("mine")
    (runs / "experiment_1").mkdir()
    (runs / "experiment_1" / "events.out").write_text("mine")
    shutil.copytree(model, runs / "backup")
    shutil.copytree(model, runs / ("a" * 64))
    (runs / ("a" * 64) / "notes.txt").write_text("mine")
    (runs / ("b" * 64)).write_text("a file")
    (runs / ("c" * 64)).mkdir()
    shutil.copytree(model, fresh_cache.parent / "elsewhere")
    if hasattr(os, "symlink"):
        (runs / ("d" * 64)).symlink_to(fresh_cache.parent / "elsewhere", target_is_directory=True)
    (fresh_cache / "images").mkdir(exist_ok=True)
    (fresh_cache / "images" / "x.npy").write_bytes(b"pixels")
    return fresh_cache


def test_only_runs_are_removed(strangers, repsim):
    before, runs = content(strangers), stored_runs()
    own = {f"runs/{run.key}/" for run in runs}
    done = repsim("cache", "clear", "--yes")
    assert done.returncode == 0
    assert done.stderr.startswith("removed 3 runs, ")
    rest = {name: data for name, data in before.items() if name[: len("runs/") + 65] not in own}
    assert len(before) - len(rest) == 9
    assert content(strangers) == rest
    assert (strangers.parent / "elsewhere" / "run.json").is_file()
    assert not list(strangers.rglob(".*tmp-*"))
    assert "others in runs" in listed(repsim)["other"]


def test_what_is_removed_is_trained_again_to_the_same_numbers(result, repsim):
    repsim("cache", "clear", "--yes")
    again = rs.compare(TINY, LEAVES, seeds=3, recipe=RECIPE)
    assert again.energy.equals(result.energy)
    assert len(stored_runs()) == 3


@pytest.mark.parametrize(
    ("age", "removed"), [("30d", 1), ("5w", 0), ("720h", 1), ("12h", 2), ("0h", 3), ("1.5d", 1)]
)
def test_only_runs_older_than_an_age_are_removed(result, repsim, age, removed):
    for run, hours in zip(stored_runs(), (31 * 24, 13, 1), strict=True):
        for path in run.folder.iterdir():
            os.utime(path, 2 * (time.time() - 3600 * hours,))
    kept = [run.key for run in stored_runs()][removed:]
    assert repsim("cache", "clear", "--older-than", age, "--yes").returncode == 0
    assert [run.key for run in stored_runs()] == kept


@pytest.mark.parametrize("age", ["30", "d", "-3d", "30 days", "1y", ""])
def test_other_ages_are_refused(result, repsim, age):
    done = repsim("cache", "clear", "--older-than", age, "--yes")
    assert done.returncode == 2
    assert f"got the age '{age}', expected" in done.stderr
    assert len(stored_runs()) == 3


def test_nothing_is_removed_without_an_answer(result, repsim):
    done = repsim("cache", "clear")
    assert done.returncode == 2
    assert "expected --yes" in done.stderr
    assert len(stored_runs()) == 3


@pytest.mark.parametrize(("answer", "left"), [(False, 3), (True, 0)])
def test_at_a_terminal_it_asks(result, repsim, monkeypatch, answer, left):
    asked = []
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(cache_limits, "sys", terminal)
    monkeypatch.setattr(
        cache_limits.click, "confirm", lambda text, err: asked.append(text) or answer
    )
    assert repsim("cache", "clear").returncode == 0
    assert len(asked) == 1
    assert "Remove 3 runs" in asked[0]
    assert len(stored_runs()) == left


def test_it_is_refused_while_a_run_is_being_trained(result, repsim, fresh_cache):
    """Also if the run is new, and stored once it is trained."""
    for key in ("e" * 64, stored_runs()[0].key):
        with filelock.FileLock(fresh_cache / "locks" / key):
            done = repsim("cache", "clear", "--yes")
        assert done.returncode == 1
        assert f"runs are being trained ({key[:16]}), expected none" in done.stderr
        assert len(stored_runs()) == 3
    assert repsim("cache", "clear", "--yes").returncode == 0


def test_a_run_that_cannot_be_removed_is_reported(result, repsim, monkeypatch):
    first = stored_runs()[0]
    remove = module.remove_folder

    def refuse(folder):
        if folder == first.folder:
            raise PermissionError(13, "Permission denied")
        remove(folder)

    monkeypatch.setattr(module, "remove_folder", refuse)
    done = repsim("cache", "clear", "--yes")
    assert done.returncode == 3
    assert f"failed: run {first.run_id} cannot be removed (Permission denied)" in done.stderr
    assert "removed 2 of 3 runs" in done.stderr
    assert stored_runs() == [first]


def test_damaged_runs_are_listed_as_such_and_removed(result, repsim):
    first, second, third = stored_runs()
    (first.folder / "model.safetensors").unlink()
    (second.folder / "run.json").write_text("{")
    (third.folder / "run.json").write_text("[]")
    found = {one["run_id"]: one["damage"] for one in listed(repsim)["runs"]}
    assert found[first.run_id] == "no model.safetensors"
    assert all("'run.json' is damaged" in found[run.run_id] for run in (second, third))
    assert "no model.safetensors" in " ".join(repsim("cache").stdout.split())
    assert repsim("cache", "clear", "--yes").returncode == 0
    assert stored_runs() == []


def test_the_command_has_six_words():
    words = {"list", "ls", "path", "clear", "verify", "gc"}
    assert set(cache.cache.list_commands(click.Context(cache.cache))) == words
