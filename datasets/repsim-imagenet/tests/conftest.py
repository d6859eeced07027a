"""Fixtures: a small ImageNet, a cache of each test's own, the command."""

import os
import subprocess
import sys

import pytest
from specs import write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def unpacked(tmp_path):
    """The folder above ``train`` and ``val``."""
    write(tmp_path / "ILSVRC2012")
    return tmp_path / "ILSVRC2012"


@pytest.fixture
def repsim():
    """The command, in a process of its own; gives exit code, output and errors."""

    def run(*arguments):
        found = subprocess.run(
            [sys.executable, "-m", "repsim_energy", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ},
        )
        return found.returncode, found.stdout, found.stderr

    return run
