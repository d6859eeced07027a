"""That pictures are read is shown while they are, once, and not when it was asked to be quiet."""

import io
import sys

import pytest
import torch

from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.data.folder import folder


@pytest.fixture
def arguments(photos, tmp_path):
    torch.save({"conv1.weight": torch.ones(2, 3, 3, 3).cumsum(0)}, tmp_path / "m.pt")
    return [
        "compare",
        "--models",
        f"checkpoint:path={tmp_path / 'm.pt'},linear_cnn:filters=8",
        "--dataset",
        f"folder:path={photos}",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--recipe",
        "quick:steps=2:batch=4",
    ]


def test_a_command_says_what_it_read_the_first_time(repsim, arguments, fresh_cache):
    first, second = repsim(*arguments), repsim(*arguments)
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stderr.count("12 pictures read\n") == 2  # of train and of test
    assert "pictures read" not in second.stderr
    assert first.stdout == second.stdout


def test_a_quiet_command_says_nothing(repsim, arguments, fresh_cache):
    assert "pictures" not in repsim(*arguments, "--quiet").stderr


def test_a_cache_that_cannot_be_made_is_said_in_a_line(repsim, arguments, tmp_path):
    (tmp_path / "file").touch()
    arguments = [arg.split(",")[0] for arg in arguments]  # nothing is trained
    found = repsim(*arguments, "--quiet", REPSIM_CACHE=str(tmp_path / "file"))
    assert found.returncode == 0, found.stderr
    lines = found.stderr.splitlines()
    assert len([line for line in lines if "decoded again each time" in line]) == 1
    assert all(line.startswith("warning: ") for line in lines)


def test_a_terminal_shows_a_bar(photos, fresh_cache, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with reporter_on_stderr(False):
        folder("train", path=photos)
    assert "pictures" in stream.getvalue()
    assert "100%" in stream.getvalue()
