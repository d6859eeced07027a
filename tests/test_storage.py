"""Files are the old one or the whole new one, also when the writer is killed."""

import os
import re
import subprocess
import sys

import pytest
from commands import needs_signals

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.storage import atomic_path, cache_folder, check_writable

KILLED = """
import os, signal, sys
from pathlib import Path
from repsim_energy.storage import atomic_path

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
    content = target.read_bytes()
    print((content[:1] if content in (b"a" * 3 * size, b"b" * 3 * size) else b"?").decode(), end="")
"""


@needs_signals
@pytest.mark.process
def test_a_writer_that_is_killed_at_any_step_leaves_the_old_file_or_the_new_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "file")], capture_output=True, text=True,
        timeout=100,
    )  # fmt: skip
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


def test_what_killed_writers_left_is_swept_away(tmp_path):
    stale = tmp_path / ".tmp-1-x"
    stale.write_text("half")
    os.utime(stale, (0, 0))
    with atomic_path(tmp_path / "file") as path:
        path.write_text("new")
    assert not stale.exists()


def test_places_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        check_writable(tmp_path / "absent" / "x.nc")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="REPSIM_CACHE"):
        cache_folder("runs")
