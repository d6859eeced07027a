"""``repsim cache verify`` finds every damage, and ``gc`` removes what it says and nothing else."""

import json
import os
import shutil
import time

import filelock
import pytest
import torch
from samples import LEAVES, RECIPE, TINY, noise_images, numbered_pictures

import repsim_energy as rs
from repsim_energy.cli.cache_limits import bytes_of
from repsim_energy.data.basis_cache import keep_bases
from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.files.seals import sealed, sealed_json
from repsim_energy.models.crbm import _store
from repsim_energy.training.stored_runs import stored_runs

KEY = "e" * 64
STALE = f".repsim-tmp-{'0' * 32}-{KEY}"
FRESH = f".repsim-tmp-{'1' * 32}-{KEY}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with entries of every kind."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REPSIM_CACHE", str(folder))
        rs.compare(TINY, LEAVES, seeds=2, recipe=RECIPE)
        _store("c" * 64, torch.ones(4, 1, 3, 3))
        pictures = noise_images(20, (1, 6, 6)).images
        keep_bases("b" * 64, [rs.patch_moments(pictures, (3, 3)).basis()])
        pixels = torch.ones(1, 3, 4, 4, dtype=torch.uint8)
        cached_pixels(numbered_pictures(folder.parent / "pictures", pixels), "1")
    facts = {"model": "vgg11", "dataset": "photos", "seed": 3}
    for place, content in {
        f"partial/{KEY}": sealed(json.dumps(facts).encode() + b"\n" + b"checkpoint"),
        f"failed/{KEY}.json": sealed_json(facts),
        "data/photos.zip": b"a download",
        "runs/notes.txt": b"mine",
        f"runs/{STALE}": b"left behind",
        f"runs/{FRESH}": b"being written",
    }.items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(content)
    os.utime(folder / "runs" / STALE, 2 * (time.time() - 25 * 3600,))
    return folder


@pytest.fixture
def cache(filled, fresh_cache):
    shutil.copytree(filled, fresh_cache)
    return fresh_cache


def names(cache):
    return {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}


def verified(repsim, *options):
    done = repsim("cache", "verify", "--json", *options)
    found = json.loads(done.stdout)["entries"]
    return done, {entry["name"]: entry for entry in found}


def test_what_is_whole_is_found_so(cache, repsim):
    before = {name: (cache / name).stat().st_atime_ns for name in names(cache)}
    done, found = verified(repsim)
    assert done.returncode == 0
    states = {(entry["kind"], entry["state"]) for entry in found.values()}
    whole = ("run", "images", "rendered", "crbm", "bases", "partial", "failed", "lock")
    unknown = ("download", "temporary", "unknown")
    expected = {(kind, "whole") for kind in whole} | {(kind, "unknown") for kind in unknown}
    assert states == expected
    assert sum(entry["bytes"] for entry in found.values()) == sum(
        (cache / name).stat().st_size for name in names(cache)
    )
    listed = (
        "locks/",
        "run.json",
        "failed/",
        "partial/",
    )  # which a list reads, and gc does not look at
    for name in (name for name in before if not any(word in name for word in listed)):
        assert (cache / name).stat().st_atime_ns == before[name]


PLACES = [
    *("runs/*/run.json", "runs/*/filters.safetensors", "runs/*/model.safetensors"),
    *("images/*.npy", "data/deadleaves*.npz", "crbm/*", "bases/*", "partial/*", "failed/*"),
]


@pytest.mark.parametrize("place", PLACES)
def test_every_damage_is_found_and_removed(place, cache, repsim):
    path = sorted(cache.glob(place))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    entry = path.parent if place.startswith("runs") else path
    name = entry.relative_to(cache).as_posix()
    done, found = verified(repsim)
    assert done.returncode == 1
    broken = [one["name"] for one in found.values() if one["state"] == "broken"]
    assert broken == [name]
    assert found[name]["reason"]
    shown = repsim("cache", "verify")
    assert (shown.returncode, f"broken: {name}: " in shown.stdout) == (1, True)
    before = names(cache)
    done, _ = verified(repsim, "--remove")
    assert done.returncode == 0
    assert "removed 1 entry, " in done.stderr
    assert not entry.exists()
    assert before - names(cache) == {n for n in before if n == name or n.startswith(f"{name}/")}
    assert verified(repsim)[0].returncode == 0


def test_a_broken_entry_whose_training_goes_on_stays(cache, repsim):
    (cache / "partial" / KEY).write_bytes(b"damaged")
    with filelock.FileLock(cache / "locks" / KEY):
        done, _ = verified(repsim, "--remove")
    assert done.returncode == 3
    assert f"failed: partial/{KEY} is being trained" in done.stderr
    assert (cache / "partial" / KEY).exists()


def test_published_sums_are_compared(cache, repsim):
    (cache / "data" / "cifar-10-python.tar.gz").write_bytes(b"no archive")
    done, found = verified(repsim)
    assert done.returncode == 1
    assert "another MD5 sum" in found["data/cifar-10-python.tar.gz"]["reason"]


def test_trainings_that_are_not_finished_are_listed(cache, repsim):
    found = json.loads(repsim("cache", "ls", "--json").stdout)["unfinished"]
    assert [one["state"] for one in found] == ["failed", "partial"]
    for one in found:
        assert one["run_id"] == KEY[:16]
        assert [one[name] for name in ("model", "dataset", "seed")] == ["vgg11", "photos", 3]
    with filelock.FileLock(cache / "locks" / KEY):
        text = repsim("cache", "ls").stdout
    assert "being trained" in text
    assert "failed" in text


def aged(cache):
    """Set times of use, an hour apart, and return the names of what can go, the oldest first."""
    runs = [run.folder.relative_to(cache).as_posix() for run in stored_runs()]
    order = [
        *(f"failed/{KEY}.json", *runs, f"partial/{KEY}"),
        *(path.relative_to(cache).as_posix() for path in cache.glob("images/*")),
        *(path.relative_to(cache).as_posix() for path in cache.glob("crbm/*")),
        *(path.relative_to(cache).as_posix() for path in cache.glob("bases/*")),
        *sorted(path.relative_to(cache).as_posix() for path in cache.glob("data/deadleaves*")),
    ]
    for number, name in enumerate(order):
        when = time.time() - 3600 * (len(order) - number)
        for path in [cache / name, *(cache / name).rglob("*")]:
            os.utime(path, (when, when))
    return order


STAY = {"data/photos.zip", "runs/notes.txt", f"runs/{FRESH}"}


def kept(cache):
    return {entry.relative_to(cache).as_posix() for entry in cache.glob("*/*")}


@pytest.mark.parametrize("hours", [0, 2, 4, 1000])
def test_what_was_not_used_for_long_is_removed(hours, cache, repsim):
    order = aged(cache)
    gone = order[: max(len(order) - hours + bool(hours), 0)] if hours < 1000 else []
    before = kept(cache)
    done = repsim("cache", "gc", "--older-than", f"{hours}h", "--yes")
    assert done.returncode == 0, done.stderr
    assert before - kept(cache) == {*gone, f"runs/{STALE}"}
    assert kept(cache) >= STAY
    assert f"removed {len(gone) + 1} entr" in done.stderr


def test_the_least_recently_used_are_removed_beyond_a_size(cache, repsim):
    order, sizes = aged(cache), {}
    for name in kept(cache):
        files = [cache / name, *(cache / name).rglob("*")]
        sizes[name] = sum(path.stat().st_size for path in files if path.is_file())
    total = sum(sizes.values()) - sizes[f"runs/{STALE}"]
    for before_that, number in ((0, 0), (0, 1), (1, 3)):
        limit = total - sum(sizes[name] for name in order[:number])
        shown = repsim("cache", "gc", "--max-size", str(limit), "--dry-run")
        assert all(name in shown.stdout.replace("\n", "") for name in order[before_that:number])
        before = kept(cache)
        repsim("cache", "gc", "--max-size", str(limit), "--yes")
        assert not set(order[:number]) & kept(cache)
        assert set(order[number:]) <= kept(cache)
        assert before - kept(cache) <= {*order, f"runs/{STALE}"}
    done = repsim("cache", "gc", "--max-size", "0", "--yes")
    assert done.returncode == 0
    assert kept(cache) >= STAY
    assert "are left: downloads, files of others, or trainings that go on" in done.stderr


def test_a_run_that_is_read_is_used(cache, repsim):
    order = aged(cache)
    run = next(run for run in stored_runs() if run.folder.name in order[1])
    rs.compare(TINY, LEAVES, seeds=[run.facts["seed"]], recipe=RECIPE)
    repsim("cache", "gc", "--older-than", "1h", "--yes")
    assert [left.key for left in stored_runs()] == [run.key]


def test_nothing_of_a_training_that_goes_on_is_removed(cache, repsim):
    aged(cache)
    first = stored_runs()[0]
    with filelock.FileLock(cache / "locks" / KEY), filelock.FileLock(cache / "locks" / first.key):
        done = repsim("cache", "gc", "--older-than", "0h", "--yes")
    assert done.returncode == 0
    assert [run.key for run in stored_runs()] == [first.key]
    assert (cache / "partial" / KEY).exists()
    assert (cache / "failed" / f"{KEY}.json").exists()


def test_nothing_is_removed_in_a_trial_or_without_an_answer_or_a_limit(cache, repsim):
    aged(cache)
    before = names(cache)
    trial = repsim("cache", "gc", "--older-than", "0h", "--dry-run")
    assert (trial.returncode, "would remove" in trial.stderr) == (0, True)
    done = repsim("cache", "gc", "--older-than", "0h")
    assert (done.returncode, "expected --yes" in done.stderr) == (2, True)
    done = repsim("cache", "gc", "--yes")
    assert (done.returncode, "got no limit, expected --older-than" in done.stderr) == (2, True)
    for option, value in (("--older-than", "30"), ("--max-size", "much"), ("--max-size", "-1GB")):
        done = repsim("cache", "gc", option, value, "--yes")
        assert done.returncode == 2
        assert f"'{value}', expected a number of" in done.stderr
    assert names(cache) == before


def test_sizes_have_decimal_and_binary_units():
    assert [bytes_of(size) for size in ("1kB", "1KiB", "2.5 GB", "3t", "7")] == [
        1000,
        1024,
        2_500_000_000,
        3 * 10**12,
        7,
    ]
