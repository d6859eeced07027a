"""Nothing is downloaded, and nothing that was downloaded before is found."""

import os
import tempfile

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # both are read when the Hub's client is imported
os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="no-weights-")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))
