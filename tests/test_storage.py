"""Files are the old one or the whole new one, also when the writer is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.storage import atomic_path, cache_folder, check_writable

WRITER = """
import sys
from pathlib import Path
from repsim_energy.storage import atomic_path
target = Path(sys.argv[1])
for number in range(10**9):
    with atomic_path(target) as path:
        path.write_bytes(bytes([number % 256]) * 3_000_000)
    if number == 0:
        print("ready", flush=True)
"""


def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    target = tmp_path / "file"
    for delay in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(0.003 * delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1


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
