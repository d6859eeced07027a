"""A full disk costs what cannot be written there, said in a line, and nothing else."""

import contextlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import repsim_process
from samples import TINY

import repsim_energy as rs

FULL = Path("/dev/full")
QUICK = ["--recipe", "quick:steps=3:batch=10", "--quiet"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(place)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True).returncode == 0:
            yield place
            subprocess.run(["umount", str(place)], check=True)
            return
    pytest.skip("a small file system needs root")


@pytest.fixture
def arguments(pictures_npz):
    return ["--models", TINY, "--dataset", f"npz:path={pictures_npz}", *QUICK]


@pytest.fixture
def given(pictures_npz, tmp_path):
    """The arguments of a comparison that trains nothing."""
    torch.save({"conv1.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "m.pt")
    return [
        "compare",
        "--models",
        f"checkpoint:path={tmp_path / 'm.pt'},linear_cnn:filters=8",
        "--dataset",
        f"npz:path={pictures_npz}",
        "--seeds",
        "1",
        "--stage",
        "trained",
        "--jobs",
        "1",
        "--recipe",
        "quick:steps=1:batch=10",
    ]


def lines_of(done):
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def test_runs_that_cannot_be_kept_are_shown(repsim, arguments, small_disk):
    done = repsim("train", *arguments, "--jobs", "1", REPSIM_CACHE=str(small_disk))
    assert done.returncode == 1
    assert done.stdout.count("in memory only") == 2
    warning, error = lines_of(done)
    assert warning.startswith("warning: runs cannot be kept in ")
    assert "(No space left on device)" in warning
    assert error == "error: none of 2 runs could be stored; make room for the cache"
    assert not any((small_disk / "runs").iterdir())


def test_a_comparison_needs_no_room_in_the_cache(repsim, arguments, small_disk, fresh_cache):
    full = repsim("compare", *arguments, "--jobs", "1", REPSIM_CACHE=str(small_disk))
    roomy = repsim("compare", *arguments, "--jobs", "1", REPSIM_CACHE=str(fresh_cache))
    assert full.returncode == roomy.returncode == 0
    assert full.stdout == roomy.stdout
    (line,) = lines_of(full)
    assert line.startswith("warning: runs cannot be kept in ")


@pytest.mark.process
def test_what_other_processes_trained_is_not_lost(
    repsim, arguments, small_disk, fresh_cache, tmp_path
):
    full, roomy = tmp_path / "full.nc", tmp_path / "roomy.nc"
    done = repsim_process(
        "compare", *arguments, "--jobs", "2", "-o", str(full), REPSIM_CACHE=str(small_disk)
    )
    assert done.returncode == 0, done.stderr
    (line,) = lines_of(done)
    assert line.startswith("warning: runs cannot be kept in ")
    assert repsim("compare", *arguments, "--jobs", "1", "-o", str(roomy)).returncode == 0
    first, second = rs.open_result(full), rs.open_result(roomy)
    np.testing.assert_array_equal(first.energy, second.energy)
    np.testing.assert_array_equal(first.similarity, second.similarity)


def test_the_table_is_printed_before_the_line(repsim, given, small_disk, fresh_cache):
    done = repsim(*given, "--quiet", "-o", str(small_disk / "r.nc"))
    assert done.returncode == 1
    assert "linear_cnn:filters=8" in done.stdout
    assert "No space left on device" in lines_of(done)[-1]
    assert not any(small_disk.iterdir())


def test_a_reproduction_is_shown_where_it_cannot_be_written(repsim, small_disk, shared_cache):
    done = repsim(
        "reproduce",
        "theorem",
        "--scale",
        "smoke",
        "-q",
        "-o",
        str(small_disk),
        REPSIM_CACHE=str(shared_cache),
    )
    roomy = repsim(
        "reproduce",
        "theorem",
        "--scale",
        "smoke",
        "-q",
        "-o",
        str(small_disk.parent),
        REPSIM_CACHE=str(shared_cache),
    )
    assert done.returncode == 1
    table = [line for line in roomy.stdout.splitlines() if not line.startswith("written")]
    assert done.stdout.splitlines() == table
    assert "theorem" in done.stdout
    (line,) = lines_of(done)
    assert line.startswith(f"error: '{small_disk}")
    assert "No space left on device" in line
    assert not any(path.name.startswith(".") for path in small_disk.iterdir())


def test_images_that_cannot_be_kept_are_rendered(repsim, given, small_disk, fresh_cache):
    images = ["--dataset", "deadleaves:count=60", "--quiet"]
    done = repsim(*given, *images, REPSIM_CACHE=str(small_disk))
    assert done.returncode == 0
    assert any("rendered again each time" in line for line in lines_of(done))
    assert done.stdout == repsim(*given, *images).stdout


@pytest.mark.process
@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_output_that_leads_to_a_full_disk(given, fresh_cache, tmp_path):
    with FULL.open("w") as full:
        lost = repsim_process(*given, "--quiet", "-o", str(tmp_path / "r.nc"), stdout=full)
        unsaid = repsim_process(*given, stderr=full)
    assert lost.returncode == 1
    assert lines_of(lost)[-1] == (
        "error: the output could not be written (No space left on device); free some space"
    )
    assert rs.open_result(tmp_path / "r.nc").sizes["model"] == 2
    assert unsaid.returncode == 0
    assert "linear_cnn:filters=8" in unsaid.stdout
