"""Many small image files, which processes read."""

import os
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import psutil
import pytest
import torch
from commands import needs_signals, wait_until
from loky import cpu_count
from readers import EndsWorkers, NotesProcesses

from repsim_energy.data import decoding, picture_files
from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.decoding import ReadAlike, read_rgb
from repsim_energy.data.folder import folder
from repsim_energy.data.pictures import mapped_images
from repsim_energy.errors import FileError
from repsim_energy.progress import silent
from repsim_energy.workers import pool_kept

several = pytest.mark.skipif(cpu_count() < 2, reason="one core: threads read all files")


@pytest.fixture
def by_processes(monkeypatch, fresh_cache):
    """Let processes read twelve images, in three tasks."""
    monkeypatch.setattr(picture_files, "MIN_FILES", 12)
    monkeypatch.setattr(picture_files, "FILES_PER_PROCESS_TASK", 5)
    return fresh_cache / "images"


@pytest.fixture
def read_here(monkeypatch):
    """Return a list of the files that this process reads."""
    names, load = [], decoding.load_rgb

    def noted(path):
        names.append(os.path.basename(path))
        return load(path)

    monkeypatch.setattr(decoding, "load_rgb", noted)
    return names


def pixels(photos, split):
    files = list_pictures(photos, split).files
    return torch.stack([torch.from_numpy(read_rgb(file, None)) for file in files])


@several
@pytest.mark.process
def test_processes_read_the_same_pixels_in_the_same_order(
    photos, by_processes, read_here, monkeypatch
):
    images = folder("train", path=photos).images
    assert read_here == ["0.png"]  # for the shape
    (kept,) = by_processes.iterdir()
    content = kept.read_bytes()
    assert torch.equal(images, pixels(photos, "train"))
    kept.unlink()
    monkeypatch.setattr(picture_files, "MIN_FILES", 13)
    assert torch.equal(folder("train", path=photos).images, images)
    assert kept.read_bytes() == content


@several
@pytest.mark.process
@pytest.mark.parametrize("name", ["cat/0.png", "cat/5.png", "dog/5.png"])
def test_a_damaged_file_is_named_by_processes_too(photos, by_processes, name):
    folder("test", path=photos)
    before = list(by_processes.iterdir())
    file = photos / "train" / name
    file.write_bytes(file.read_bytes()[:70])
    with pytest.raises(FileError, match=f"{name}' cannot be read as an image"):
        folder("train", path=photos)
    assert list(by_processes.iterdir()) == before


@several
@pytest.mark.process
def test_warnings_of_processes_are_given_once(photos, by_processes):
    for number in range(6):  # an animation without frames, of which Pillow warns
        file = photos / "train" / "dog" / f"{number}.png"
        content, chunk = file.read_bytes(), b"acTL" + bytes(8)
        chunk = struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk))
        file.write_bytes(content[:33] + chunk + content[33:])
    with warnings.catch_warnings(record=True) as here:
        warnings.simplefilter("default")
        for file in list_pictures(photos, "train").files:
            read_rgb(file, None)
    with warnings.catch_warnings(record=True) as elsewhere:
        warnings.simplefilter("default")
        folder("train", path=photos)
    assert ["Invalid APNG" in str(w.message) for w in here] == [True]
    assert [(w.category, str(w.message)) for w in elsewhere] == [
        (w.category, str(w.message)) for w in here
    ]


@several
@pytest.mark.process
def test_threads_read_what_processes_cannot(photos, by_processes):
    files = list_pictures(photos, "train").files
    read = EndsWorkers(None, files[0], (3, 10, 12))
    found = mapped_images(files, read, read.shape, "1", "photos")
    assert torch.equal(found, pixels(photos, "train"))


@several
@pytest.mark.process
def test_both_splits_of_a_data_set_are_read_by_the_same_processes(photos, by_processes):
    def processes(version):
        for noted in photos.glob("process-*"):
            noted.unlink()
        mapped_images(files, read, read.shape, version, "photos")
        return {int(noted.name.split("-")[1]) for noted in photos.glob("process-*")}

    files = list_pictures(photos, "train").files
    read = NotesProcesses(None, files[0], (3, 10, 12))
    damaged = photos / "damaged.png"
    damaged.write_bytes(b"no picture")
    with pool_kept():
        first = processes("1") | processes("2")
        assert 0 < len(first) <= cpu_count()
        with pytest.raises(FileError, match="damaged.png' cannot be read"):
            mapped_images([*files, str(damaged)], read, read.shape, "3", "photos")
        second = processes("4")
    assert not first & second  # what fails ends them
    assert os.getpid() not in first | second
    wait_until(lambda: not any(map(psutil.pid_exists, first | second)), "workers to end")


@pytest.mark.process
def test_workers_that_read_images_import_no_torch():
    code = (
        "import sys, repsim_energy.data.decoding, repsim_energy.workers\n"
        "print({'torch', 'torchvision', 'xarray', 'scipy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_file_that_changes_meanwhile_is_named_and_nothing_is_kept(photos, fresh_cache):
    files = list_pictures(photos, "train").files

    class Changes(ReadAlike):
        def __call__(self, path):
            if path == files[-1]:
                os.utime(files[3], ns=(0, 0))
            return super().__call__(path)

    read = Changes(None, files[0], (3, 10, 12))
    with pytest.raises(FileError, match="cat/3.png' changed while the images were read"):
        mapped_images(files, read, read.shape, "1", "photos")
    assert list((fresh_cache / "images").iterdir()) == []
    unchanging = ReadAlike(None, files[0], (3, 10, 12))
    assert len(mapped_images(files, unchanging, read.shape, "1", "photos")) == 12


INTERRUPTED = """
import os, signal
from pathlib import Path
from repsim_energy.data import picture_files
from repsim_energy.data.folder import folder
from repsim_energy.progress import Reporter, reporting

class Interrupts(Reporter):
    def work(self, work):
        if work.label.startswith("reading") and work.done and not work.ended:
            os.killpg(0, signal.SIGINT)

picture_files.MIN_FILES, picture_files.FILES_PER_PROCESS_TASK = 12, 2
with reporting(Interrupts()):
    folder("train", path=Path("photos"))
"""


@several
@needs_signals
@pytest.mark.process
def test_an_interruption_ends_at_once_and_leaves_nothing(photos, fresh_cache):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=photos.parent,
        start_new_session=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "REPSIM_CACHE": str(fresh_cache),
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt", done.stderr
    assert done.stderr.count("Traceback") == 1
    assert list((fresh_cache / "images").iterdir()) == []


@pytest.mark.parametrize("place", [".", "photos", "./photos/train/.."])
def test_files_are_named_as_paths_are(photos, monkeypatch, place):
    """Texts are joined faster than paths, and have to be the same."""
    monkeypatch.chdir(photos if place == "." else photos.parent)
    with silent():
        files = list_pictures(Path(place), "train").files
    folders = [Path(place) / "train" / name for name in ("cat", "dog")]
    assert files == [str(one / f"{i}.png") for one in folders for i in range(6)]
