"""Writers that are killed at random moments: the old or the new, whole, and nothing else."""

import contextlib
import os
import time
import uuid

import pytest
import torch
from children import CONTEXT, start
from commands import needs_signals
from killed_work import (
    CHUNKS,
    PATCH,
    build,
    merge,
    pixels,
    result,
    run,
    write_images,
    write_results,
    write_run,
)
from killing import kills
from samples import numbered_pictures

import repsim_energy as rs
from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.scheduling import chunks as chunk_sums
from repsim_energy.training.run_cache import keep_run, read_run
from repsim_energy.training.run_files import run_folder

pytestmark = [pytest.mark.process, needs_signals]

TEMPORARY = ".repsim-tmp-*"


def duration(work, *args, **env):
    """How long the writing takes, when nobody kills it."""
    begun = CONTEXT.Event()
    child = start(work, *args, begun, **env)
    assert begun.wait(60)
    before = time.monotonic()
    child.join()
    assert child.exitcode == 0
    return time.monotonic() - before


def begun_in(folder):
    """A function that says whether a temporary file in a folder has any content."""

    def begun():
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            return any(
                one.name.startswith(".repsim-tmp-") and (one.is_dir() or one.stat().st_size)
                for one in entries
            )
        return False

    return begun


def sweep(folder):
    """Make what a killed process has just left two days older; return whether there was any."""
    now = time.time()
    left = [one for one in folder.glob(TEMPORARY) if now - one.stat().st_mtime < 3600]
    for place in left:
        for path in (*place.rglob("*"), place):
            os.utime(path, (now - 2 * 24 * 3600,) * 2)
    return bool(left)


def foreign(folder, target):
    """Files of others with similar names, which are old."""
    digits = uuid.uuid4().hex
    names = [
        f".repsim-tmp-{digits}",
        f".repsim-tmp-{digits[1:]}-{target}",
        f".repsim-tmp-{digits[:-1]}G-{target}",
        f"repsim-tmp-{digits}-{target}",
        f".repsim-tmp--{target}",
        f".tmp-{digits[:31]}-{target}",
        f"x.repsim-tmp-{digits}-{target}",
    ]
    made = [folder / name for name in names]
    for path in made:
        path.write_text("mine")
        os.utime(path, (0, 0))
    return set(made)


COUNTS = [2, pytest.param(150, marks=pytest.mark.faults)]


def report(name, died, left):
    """Kills that fell into the writing leave a temporary file behind."""
    print(f"{name}: {died} killed, {left} of them with a temporary file")


@pytest.mark.parametrize("count", COUNTS)
def test_of_a_result_the_old_or_the_new_is_left(count, tmp_path):
    path = tmp_path / "result.nc"
    rs.save_result(result(0), path)
    old = path.read_bytes()
    whole = {number: result(number) for number in (0, 1)}
    seconds = duration(write_results, tmp_path / "other.nc", 1)
    died = left = 0
    arguments = [(path, 1)] * count
    for killed in kills(write_results, arguments, seconds=seconds, inside=begun_in(tmp_path)):
        read = rs.open_result(path)
        assert read.identical(whole[read.attrs["number"]])
        died += killed
        left += sweep(tmp_path)
        path.write_bytes(old)
    others = foreign(tmp_path, "result.nc")
    rs.save_result(whole[0], path)
    assert {*tmp_path.iterdir()} == {path, tmp_path / "other.nc", *others}
    report("results", died, left)
    assert count < 100 or (died > count // 3 and left > 0)


@pytest.mark.parametrize("count", COUNTS)
def test_of_a_run_all_or_nothing_is_left(count, fresh_cache):
    keys = [f"{number:064x}" for number in range(count)]
    env = {"REPSIM_CACHE": str(fresh_cache)}
    seconds = duration(write_run, "e" * 64, **env)
    place, died, left = fresh_cache / "runs", 0, 0
    expected = run(7)
    dying = kills(
        write_run, [(key,) for key in keys], seconds=seconds, inside=begun_in(place), **env
    )
    for key, killed in zip(keys, dying, strict=True):
        found = read_run(key, build)  # warnings are errors: a damaged run fails here
        assert found is None or torch.equal(found.trained, expected.trained)
        assert found is None or torch.equal(found.network().weight, build().weight)
        assert run_folder(key).exists() == (found is not None)
        died += killed
        left += sweep(place)
    others = foreign(place, "x")
    keep_run(expected, "d" * 64, {})
    assert {path for path in place.iterdir() if "tmp-" in path.name} == others
    report("runs", died, left)
    assert count < 100 or (died > count // 3 and left > 0)


@pytest.mark.parametrize("count", COUNTS)
def test_of_cached_images_all_or_none_are_left(count, tmp_path, fresh_cache):
    env = {"REPSIM_CACHE": str(fresh_cache)}
    expected = pixels()
    place, died, left = fresh_cache / "images", 0, 0
    folders = [tmp_path / f"pictures{number}" for number in range(count)]
    seconds = duration(write_images, tmp_path / "pictures", **env)
    arguments = [(folder,) for folder in folders]
    dying = kills(write_images, arguments, seconds=seconds, inside=begun_in(place), **env)
    for folder, killed in zip(folders, dying, strict=True):
        left += sweep(place)
        died += killed
        assert torch.equal(cached_pixels(numbered_pictures(folder, expected), "v"), expected)
        for path in place.glob("[!.]*"):
            path.unlink()
    others = foreign(place, "x.npy")
    cached_pixels(numbered_pictures(folders[0], expected), "v")
    assert {path for path in place.iterdir() if "tmp-" in path.name} == others
    report("images", died, left)
    assert count < 100 or (died > count // 3 and left > 0)


@pytest.mark.parametrize("count", COUNTS)
def test_of_sums_that_grow_those_of_the_first_chunks_are_left(count, tmp_path):
    parts = [patch_moments(make(), PATCH) for make in CHUNKS]
    path = tmp_path / "sums"
    seconds = duration(merge, tmp_path / "other")
    (tmp_path / "other").unlink()
    died = left = 0
    seen = set()
    whole = rs.patch_moments_of_chunks(CHUNKS, PATCH)
    for killed in kills(merge, [(path,)] * count, seconds=seconds, inside=begun_in(tmp_path)):
        died += killed
        left += sweep(tmp_path)
        if path.exists():
            known, sums = chunk_sums.read_sums(path, PATCH)
            seen.add(len(known))
            first = sum(parts[1 : len(known)], start=parts[0])
            assert sums.count == first.count
            assert torch.equal(sums.second, first.second)
            assert torch.equal(sums.total, first.total)
        resumed = rs.patch_moments_of_chunks(CHUNKS, PATCH, checkpoint=path)
        assert torch.equal(resumed.second, whole.second)
        assert [*tmp_path.iterdir()] == [path]
        path.unlink()
    report("sums", died, left)
    assert count < 100 or (died > count // 3 and left > 0 and len(seen) > 3)
