"""Fixtures: a small CelebA, a separate cache for each test, the command."""

import os
import subprocess
import sys

import pytest
from specs import write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def published(tmp_path):
    """Return the parent folder of ``celeba``."""
    write(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def repsim():
    """Return a function that runs the command in a process: exit code, stdout, stderr."""

    def run(*arguments, **environment):
        found = subprocess.run(
            [sys.executable, "-m", "repsim_energy", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, **environment},
        )
        return found.returncode, found.stdout, found.stderr

    return run
