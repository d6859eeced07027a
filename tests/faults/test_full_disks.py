"""Writes that fail at any byte: what was there stays, nothing of ours is left, one line says so."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import noise_images

import repsim_energy as rs
from repsim_energy.cli.visualize import _save as save_arrays
from repsim_energy.data.basis_cache import keep_bases
from repsim_energy.data.deadleaves import deadleaves
from repsim_energy.data.picture_files import PictureFiles
from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError
from repsim_energy.experiments.report import write_rows
from repsim_energy.files.downloads import download
from repsim_energy.models import crbm
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.plot.style import write_figure
from repsim_energy.results.files import save_results
from repsim_energy.scaffold import write_plugin
from repsim_energy.scheduling.sums_file import UNCLEAR, Known, write_sums
from repsim_energy.training import run_files

BLOCK = 4096
"""Bytes of a page, the unit in which a file system gives room."""


@dataclass(frozen=True)
class Writer:
    """What writes something into a folder, and what it is called there.

    ``is_cache``: a failure costs what would have been kept, and is a warning.
    """

    write: object
    target: str
    is_cache: bool = False


def result(folder):
    rs.save_result(RESULT, folder / "out.nc")


def results(folder):
    save_results({"one": RESULT, "two": RESULT}, folder / "out.nc")


def run(folder):
    files = {"run.json": b"{}" * 400, "filters.safetensors": bytes(9000)}
    run_files.write_files("f" * 64, {**files, "model.safetensors": bytes(9000)})


def images(folder):
    pixels = np.arange(10_000).astype(np.uint8).reshape(1, 100, 100)
    pictures = PictureFiles([folder / "picture"] * 2, lambda _: pixels, pixels.shape, "picture")
    assert (cached_pixels(pictures, "v").numpy() == pixels).all()


def leaves(folder):
    images = deadleaves("train", count=4)
    assert len(images.images) == 4


def filters(folder):
    crbm._store("k" * 64, torch.ones(16, 1, 9, 9))


def bases(folder):
    images = noise_images(20, (3, 9, 9)).images
    keep_bases("k" * 64, [patch_moments(images, (3, 3)).basis()])


def sums(folder):
    moments = patch_moments(noise_images(4, (1, 20, 20)).images, (7, 7))
    write_sums(folder / "out.sums", [Known(UNCLEAR, UNCLEAR)] * 9, moments)


def checkpoint(folder):
    chunk = noise_images(4, (1, 20, 20)).images
    found = rs.patch_moments_of_chunks([chunk.clone], (7, 7), checkpoint=folder / "out.sums")
    assert found.count == patch_moments(chunk, (7, 7)).count


def page(folder):
    rs.write_report(RESULT, folder / "out.html", figures=False)


def figure(folder, suffix):
    write_figure(FIGURE(), folder / f"out.{suffix}")


def arrays(folder):
    save_arrays(UNITS, folder / "out.npz")


def rows(folder):
    row = {"names": ["one"], "title": "x" * 6000, "scale": "smoke", "scale_summary": "", "data": ""}
    row |= {"recipe": "", "seconds": 1.0, "missing": [], "failures": [], "quantities": []}
    write_rows(folder, {"one": {**row, "figure": False, "options": {}}})


def plugin(folder):
    write_plugin("repsim-mine", "metric", folder)


def fetched(folder):
    download((folder / "picture").absolute().as_uri(), folder / "out.bin")


RESULT = rs.example_result()
UNITS = RESULT[["energy"]].assign_coords(unit=[0], pixel_range=[0.0, 1.0])


def FIGURE():  # noqa: N802
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    plt.close(figure)
    ax.plot(np.arange(100))
    return figure


WRITERS = {
    "result": Writer(result, "out.nc"),
    "several results": Writer(results, "out.nc"),
    "run": Writer(run, "cache/runs", is_cache=True),
    "cached images": Writer(images, "cache/images", is_cache=True),
    "rendered images": Writer(leaves, "cache/data", is_cache=True),
    "filters of crbm": Writer(filters, "cache/crbm", is_cache=True),
    "patch bases": Writer(bases, "cache/bases", is_cache=True),
    "sums": Writer(sums, "out.sums"),
    "checkpoint": Writer(checkpoint, "out.sums", is_cache=True),
    "report": Writer(page, "out.html"),
    "svg": Writer(partial(figure, suffix="svg"), "out.svg"),
    "png": Writer(partial(figure, suffix="png"), "out.png"),
    "pdf": Writer(partial(figure, suffix="pdf"), "out.pdf"),
    "arrays": Writer(arrays, "out.npz"),
    "reproduction": Writer(rows, "reproduction.json"),
    "plugin": Writer(plugin, "repsim-mine"),
    "download": Writer(fetched, "out.bin"),
}


def tree(folder):
    """All files below a folder, temporary ones too, and their content."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "filler"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def begin(writer, folder, monkeypatch):
    """A folder with something precious in the place where the writer will write."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("REPSIM_CACHE", str(folder / "cache"))
    (folder / "picture").write_bytes(bytes(20_000))
    if "." in writer.target and writer.write is not checkpoint:
        (folder / writer.target).write_bytes(b"precious")
    if writer.target.startswith("cache"):
        place = folder / writer.target
        place.mkdir(parents=True)
        (place / "neighbor").write_bytes(b"precious")


def attempt(writer, folder, *, may_refuse=False):
    """Return whether the writer wrote everything; all other ways of ending are clean.

    ``may_refuse``: also before any work, as wrong usage.
    """
    before = tree(folder)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            writer.write(folder)
        except RepsimError as error:
            refused = isinstance(error, UsageError) or writer.write is checkpoint
            assert may_refuse if refused else not writer.is_cache  # noqa: PT017
            said = [str(error)]
        else:
            said = [str(one.message) for one in seen if issubclass(one.category, RepsimWarning)]
    run_files._held.clear()
    after = tree(folder)
    if not said:
        return True
    assert after == before
    assert len(said) == 1
    assert "\n" not in said[0]
    return False


def written_in_whole(writer, folder, monkeypatch):
    """What the writer writes where nothing fails."""
    begin(writer, folder, monkeypatch)
    assert attempt(writer, folder)
    whole = tree(folder)
    shutil.rmtree(folder)
    return whole


def check_every_step(writer, steps, folder, whole, monkeypatch):
    """From some step on, the writer writes everything; before, nothing."""
    ended = []
    for context in steps:
        begin(writer, folder, monkeypatch)
        with context:
            ended.append(attempt(writer, folder))
        if ended[-1]:
            if writer.target != "out.nc":  # names of cached images contain times of files
                assert sorted(tree(folder).values()) == sorted(whole.values())
            else:
                assert rs.open_result(folder / "out.nc", GROUP.get(writer.write)).equals(RESULT)
        for path in folder.iterdir():
            if path.name != "filler":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert ended == sorted(ended)
    assert ended[0] is False
    assert ended[-1] is True


GROUP = {results: "two"}

FEW_OR_ALL = [1, pytest.param(60, marks=pytest.mark.faults)]


@pytest.mark.parametrize("count", FEW_OR_ALL)
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_cannot_grow_beyond_any_size_harms_nothing(
    name, count, tmp_path, files_of_at_most, monkeypatch
):
    writer = WRITERS[name]
    whole = written_in_whole(writer, tmp_path / "whole", monkeypatch)
    largest = max(map(len, whole.values()))
    sizes = sorted({*range(0, largest, max(1, largest // count)), largest - 1})
    steps = [files_of_at_most(size) for size in sizes] + [contextlib.nullcontext()]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # limited, too
    check_every_step(writer, steps, tmp_path / "limited", whole, monkeypatch)
    assert {path.name for path in tmp_path.iterdir()} <= {"limited"}


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """A function that mounts a file system of memory, with options of ``mount``."""
    places = []

    def mount(options):
        place = tmp_path_factory.mktemp("disk")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        with contextlib.suppress(FileNotFoundError):
            if subprocess.run(command, capture_output=True).returncode == 0:
                places.append(place)
                return place
        return pytest.skip("a small file system needs the rights to mount one")

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def disk(mounted):
    """A file system of 2 MB."""
    return mounted("size=2m")


@contextlib.contextmanager
def room(disk, blocks):
    """Leave so many blocks free on a disk."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(disk)
        if (size := (free.f_bavail - blocks) * BLOCK) > 0:
            os.posix_fallocate(file.fileno(), 0, size)
    assert os.statvfs(disk).f_bavail == blocks
    try:
        yield
    finally:
        filler.unlink()


SOME_BLOCKS = [(name, 1) for name in ("result", "run", "sums", "plugin")]
ALL_BLOCKS = [pytest.param(name, 10_000, marks=pytest.mark.faults) for name in WRITERS]


@pytest.mark.process
@pytest.mark.parametrize(("name", "most"), SOME_BLOCKS + ALL_BLOCKS)
def test_a_disk_with_any_number_of_free_blocks_keeps_what_it_has(
    name, most, tmp_path, disk, monkeypatch
):
    writer = WRITERS[name]
    whole = written_in_whole(writer, tmp_path / "whole", monkeypatch)
    need = sum(-(-len(content) // BLOCK) for content in whole.values()) + 3
    counts = range(0, need, max(1, need // most))
    steps = [room(disk, blocks) for blocks in counts] + [contextlib.nullcontext()]
    check_every_step(writer, steps, disk, whole, monkeypatch)


@pytest.mark.process
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_without_inodes_keeps_what_it_has(name, tmp_path, mounted, monkeypatch):
    writer, disk = WRITERS[name], mounted("size=1m,nr_inodes=60")
    begin(writer, disk, monkeypatch)
    with contextlib.suppress(OSError):
        for number in range(60):
            (disk / f"empty{number}").touch()
    assert not attempt(writer, disk, may_refuse=True)


@pytest.mark.process
@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_is_mounted_for_reading_keeps_what_it_has(name, mounted, monkeypatch):
    writer, disk = WRITERS[name], mounted("size=1m")
    begin(writer, disk, monkeypatch)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = tree(disk)
    assert not attempt(writer, disk, may_refuse=True)
    assert tree(disk) == before


@pytest.mark.process
@pytest.mark.parametrize("most", [2, pytest.param(10_000, marks=pytest.mark.faults)])
def test_a_full_folder_of_temporary_files_is_named(most, tmp_path, mounted, monkeypatch):
    """A result is never cut short where netCDF does not notice.

    HDF5 leaves a file open that it could not write, which keeps its blocks until the process ends.
    """
    disk = mounted("size=16m")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    path = tmp_path / "out.nc"
    path.write_bytes(b"precious")
    ended = []
    steps = [room(disk, blocks) for blocks in range(0, 60, max(1, 60 // most))]
    for step in (*steps, contextlib.nullcontext()):
        with step:
            try:
                rs.save_result(RESULT, path)
            except RepsimError as error:
                words = f"temporary files '{disk}' is full; TMPDIR names another"
                assert words in str(error)  # noqa: PT017
                assert path.read_bytes() == b"precious"
                ended.append(False)
            else:
                ended.append(True)
                assert rs.open_result(path).equals(RESULT)
                path.write_bytes(b"precious")
        assert list(disk.iterdir()) == []
    assert ended[0] is False
    assert ended[-1] is True


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, one in WRITERS.items()
        if not one.is_cache and name not in ("plugin", "download")
    ],
)
def test_a_folder_that_is_gone_is_named(name, tmp_path, monkeypatch):
    """It is not made again."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RepsimError, match=r"gone.*(could not|cannot) be written") as found:
        WRITERS[name].write(Path("gone", "further"))
    assert "\n" not in str(found.value)
    assert list(Path("gone").iterdir()) == []


COMMANDS = {
    "report": ["report", "{result}", "-o", "{disk}/r.html", "--no-figures"],
    "plot": ["plot", "{result}", "--kind", "profiles", "-o", "{disk}/r.pdf"],
    "plugins new": ["plugins", "new", "repsim-mine", "--kind", "metric", "--into", "{disk}"],
}


@pytest.mark.process
@pytest.mark.parametrize("name", COMMANDS)
def test_commands_on_a_full_disk_end_with_one_line_and_1(name, repsim, disk, tmp_path):
    rs.save_result(RESULT, tmp_path / "result.nc")
    words = {"result": tmp_path / "result.nc", "disk": disk}
    with room(disk, 0):
        done = repsim(*(part.format(**words) for part in COMMANDS[name]))
        left = [path.name for path in disk.iterdir()]
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"error: '.*' could not be written \(No space left.*\n", done.stderr)
    assert left == ["filler"]


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="system calls can only be failed by strace"
)

CALLS = ["openat", "write", "fsync", "close", "rename", "chmod", "mkdir", "unlink", "fstat"]

PROGRAM = """
import os, sys, warnings
from pathlib import Path
from repsim_energy.errors import RepsimError
from repsim_energy.files.storage import atomic_path

target = Path(sys.argv[1])
try:
    with atomic_path(target) as path, path.open("wb") as file:
        for _ in range(3):
            file.write(b"n" * 9000)
except RepsimError:
    sys.exit(1)
"""


def traced(tmp_path, *options):
    """Run the program under strace, which fails calls; return its exit code and the log."""
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["strace", "-f", "-y", "-o", str(log), *options, sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        [*command, str(tmp_path / "place" / "file")],
        env={**environment, "PYTHONHASHSEED": "0", "REPSIM_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    return done, log.read_text(errors="replace").splitlines()


@needs_strace
@pytest.mark.process
@pytest.mark.parametrize("names", [["write"], pytest.param(CALLS, marks=pytest.mark.faults)])
def test_whichever_call_of_the_system_fails_the_file_is_the_old_or_the_new_one(names, tmp_path):
    """EIO for every call that concerns the file or its folder, one after the other."""
    place = tmp_path / "place"
    place.mkdir()
    target = place / "file"
    calls = []
    for call in names:
        target.write_bytes(b"old")
        done, log = traced(tmp_path, "-e", f"trace={call}")
        if done.returncode != 0:
            pytest.skip(f"strace cannot be used here: {done.stderr[:100]}")
        mine = [line for line in log if f" {call}(" in line or line.startswith(f"{call}(")]
        calls += [(call, n) for n, line in enumerate(mine, 1) if str(place) in line]
    assert {"write", "fsync", "close", "rename"} & {*names} <= {call for call, _ in calls}
    for call, number in calls:
        target.write_bytes(b"old")
        done, _ = traced(
            tmp_path, "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={number}"
        )
        assert "Traceback" not in done.stderr, (call, number, done.stderr)
        assert target.read_bytes() == (b"old" if done.returncode else b"n" * 27_000), (call, number)
        assert done.returncode in (0, 1)
        assert list(place.iterdir()) == [target]
