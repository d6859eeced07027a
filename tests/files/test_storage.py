"""Files are the old or the complete new one, also after a kill."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from commands import needs_signals

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.files.storage import (
    STALE_SECONDS,
    atomic_path,
    cache_folder,
    check_writable,
    temporary_folder,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from repsim_energy.files.storage import atomic_path

target, size, left = Path(sys.argv[1]), 100_000, None

def step(*_):
    # Die where no step is left: before a call of the system, or with a part written.
    global left
    if left is not None:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def write(byte):
    with atomic_path(target) as path, path.open("wb") as file:
        for _ in range(3):
            file.write(byte * size)
            file.flush()
            step()

sys.addaudithook(step)
write(b"a")
steps = ended = 0
while not ended:
    writer = os.fork()
    if not writer:
        left = steps
        write(b"b")
        os._exit(0)
    ended = os.waitpid(writer, 0)[1] == 0
    steps += 1
    for half in target.parent.glob(".repsim-tmp-*"):
        half.unlink()  # each would be a step more to the next writer, who looks at its age
    content = target.read_bytes()
    print((content[:1] if content in (b"a" * 3 * size, b"b" * 3 * size) else b"?").decode(), end="")
"""


@needs_signals
@pytest.mark.process
def test_a_writer_that_is_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert re.fullmatch("aaaa+b+", done.stdout), done.stderr


def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    def write():
        with atomic_path(target) as path:
            path.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(RepsimError, match="unchanged"):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "old"


def left_behind(folder, target, *, days=2, prefix=".repsim-tmp-"):
    """Make the temporary folder of a writer that was killed some time ago."""
    path = folder / f"{prefix}{uuid.uuid4().hex}-{target}"
    inner = path / "tests"
    inner.mkdir(parents=True)
    (inner / "half").write_text("half")
    for part in (inner / "half", inner, path):
        os.utime(part, (time.time() - days * 24 * 3600,) * 2)
    return path


def write(target):
    with atomic_path(target) as path:
        path.write_text("new")


def test_nothing_of_the_user_is_swept_away(tmp_path):
    """Only names with the prefix, a UUID and the name of the target are removed."""
    foreign = [
        left_behind(tmp_path, "file", prefix=".tmp-"),
        left_behind(tmp_path, "other"),
        left_behind(tmp_path, "file.nc"),
        tmp_path / ".tmp-notes",
        tmp_path / ".repsim-tmp-notes-file",
        tmp_path / ".repsim-tmp-file",
    ]
    for path in foreign[3:]:
        path.write_text("mine")
        os.utime(path, (0, 0))
    write(tmp_path / "file")
    assert set(tmp_path.iterdir()) == {*foreign, tmp_path / "file"}


def test_what_was_left_of_the_same_file_is_removed_whole_after_a_day(tmp_path):
    old, new = left_behind(tmp_path, "file"), left_behind(tmp_path, "file", days=0.9)
    growing = left_behind(tmp_path, "file")
    os.utime(growing / "tests" / "half")
    write(tmp_path / "file")
    assert not old.exists()
    assert new.exists()
    assert growing.exists()


def test_the_cache_is_swept_of_everything_that_is_ours(fresh_cache):
    folder = cache_folder("runs")
    stale = [
        left_behind(folder, "one"),
        left_behind(folder, "two", prefix=".tmp-"),  # of version 0.1
    ]
    kept = [
        left_behind(folder, "three", days=0.9),
        folder / ".tmp-notes",
        left_behind(cache_folder("images"), "four"),
    ]
    kept[1].write_text("mine")
    os.utime(kept[1], (0, 0))
    write(folder / "run")
    assert not any(path.exists() for path in stale)
    assert all(path.exists() for path in kept)


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path, fresh_cache):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one").write_text("mine")
    for path in (tmp_path / "photos" / "one", tmp_path / "photos"):
        os.utime(path, (0, 0))
    link = cache_folder("runs") / f".repsim-tmp-{uuid.uuid4().hex}-run"
    link.symlink_to(tmp_path / "photos", target_is_directory=True)
    os.utime(link, (0, 0), follow_symlinks=False)
    write(cache_folder("runs") / "run")
    assert not link.is_symlink()
    assert (tmp_path / "photos" / "one").read_text() == "mine"


@pytest.mark.process
def test_a_killed_writer_of_a_folder_leaves_what_the_next_one_knows(tmp_path):
    """A real process leaves a name that is removed."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from repsim_energy.files.storage import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path:\n"
        "    (path / 'tests').mkdir(parents=True)\n    (path / 'tests' / 'x').write_text('half')\n"
        "    os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "mine")], check=False)
    (left,) = tmp_path.iterdir()
    for path in (*left.rglob("*"), left):
        os.utime(path, (0, 0))
    with atomic_path(tmp_path / "mine") as path:
        path.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_of_two_writers_of_a_folder_the_first_to_finish_keeps_the_place(tmp_path):
    target = tmp_path / "run"
    with atomic_path(target) as slow:
        slow.mkdir()
        (slow / "who").write_text("slow")
        with atomic_path(target) as fast:
            fast.mkdir()
            (fast / "who").write_text("fast")
    assert (target / "who").read_text() == "fast"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_does_not_pass_for_written_where_a_file_is_in_its_place(tmp_path):
    (tmp_path / "run").write_text("old")

    def write_folder():
        with atomic_path(tmp_path / "run") as path:
            path.mkdir()

    with pytest.raises(RepsimError, match="unchanged"):
        write_folder()
    assert (tmp_path / "run").read_text() == "old"


def test_without_a_home_the_cache_is_asked_for_and_other_files_are_written(tmp_path, monkeypatch):
    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("REPSIM_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", no_home)
    with pytest.raises(UsageError, match="set REPSIM_CACHE"):
        cache_folder("runs")
    write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"


needs_links = pytest.mark.skipif(os.name != "posix", reason="links and devices of POSIX")


@needs_links
def test_a_link_is_followed_and_stays(tmp_path):
    """Links to a file, to a new one, by a relative name, and to another link."""
    (tmp_path / "real").mkdir()
    for name in ("there", "absent"):
        (tmp_path / name).symlink_to(f"real/{name}")
        (tmp_path / f"{name}-again").symlink_to(name)
    (tmp_path / "real" / "there").write_text("old")
    for name in ("there", "absent", "there-again", "absent-again"):
        check_writable(tmp_path / name)
        with atomic_path(tmp_path / name) as path:
            path.write_text(name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name.removesuffix("-again")).read_text() == name
    assert {p.name for p in (tmp_path / "real").iterdir()} == {"there", "absent"}


@needs_links
def test_links_that_lead_nowhere_are_refused(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("absent/file")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("circle", "nowhere", "folder"):
        with pytest.raises(UsageError, match=rf"output '.*{name}' "):
            check_writable(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    with pytest.raises(RepsimError, match="could not be written"):
        write(tmp_path / "circle")


@needs_links
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # such names are short
        (tmp_path / "link").symlink_to(os.devnull)
        before = {path: path.lstat() for path in tmp_path.iterdir()}
        for path in (*before, Path(os.devnull)):
            with pytest.raises(UsageError, match="is a device, pipe or socket"):
                check_writable(path)
        assert {path: path.lstat() for path in tmp_path.iterdir()} == before


def test_a_protected_file_is_refused_and_stays(tmp_path):
    """Root cannot write to it either."""
    path = tmp_path / "protected"
    path.write_text("precious")
    path.chmod(0o444)
    with pytest.raises(UsageError, match="is write-protected"):
        check_writable(path)
    assert path.read_text() == "precious"


@needs_links
def test_permissions_are_handed_on(tmp_path):
    (tmp_path / "mine").write_text("old")
    for mode in (0o600, 0o664):
        (tmp_path / "mine").chmod(mode)
        write(tmp_path / "mine")
        assert (tmp_path / "mine").stat().st_mode & 0o777 == mode


def test_a_check_changes_nothing(tmp_path):
    (tmp_path / "old").write_text("old")
    for name in ("old", "new", "n" * 200):
        check_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]
    for name in ("n" * 255, "zero\0"):
        with pytest.raises(UsageError, match="cannot be written"):
            check_writable(tmp_path / name)


def test_places_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        check_writable(tmp_path / "absent" / "x.nc")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="REPSIM_CACHE"):
        cache_folder("runs")


def test_temporary_folders_of_killed_processes_are_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead, alive = 2**30 - 1, os.getpid()  # no system has processes of such a number
    old = time.time() - 2 * STALE_SECONDS
    abandoned = f"repsim-{dead}-abc_1"
    others = [
        f"repsim-{alive}-abc",
        f"repsim-{dead}",
        f"repsim-{dead}-a.b",
        "repsim-x-abc",
        "other",
    ]
    for name in (abandoned, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.nc").write_bytes(b"part")
        os.utime(tmp_path / name / "results.nc", (old, old))
        os.utime(tmp_path / name, (old, old))
    (tmp_path / f"repsim-{dead}-young").mkdir()
    with temporary_folder() as folder:
        assert folder.parent == tmp_path
        kept = {path.name for path in tmp_path.iterdir()} - {folder.name}
    assert kept == {*others, f"repsim-{dead}-young"}
    assert not folder.exists()
