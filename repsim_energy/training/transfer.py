"""A finished run as bytes, to be kept by another process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from repsim_energy.errors import FileError
from repsim_energy.training.kept import FILES, MANIFEST, Run, keep_files

__all__ = ["files_of", "keep_received"]


def files_of(run: Run) -> dict[str, bytes]:
    """Return the files of a cached run, or of one that could not be written, by their names."""
    if run.files is not None:
        return dict(run.files)
    assert run.folder is not None
    return {name: (run.folder / name).read_bytes() for name in (MANIFEST, *FILES)}


def keep_received(key: str, files: Mapping[str, bytes]) -> None:
    """Keep the files of a run that another process made; it is there whole or not at all.

    Raises
    ------
    FileError
        Where the content is not what the run's manifest says.
    """
    expected = json.loads(files[MANIFEST])["sha256"]
    for name in FILES:
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise FileError(f"'{name}' of run {key[:16]} came back damaged, expected its SHA-256")
    keep_files(key, {name: files[name] for name in (MANIFEST, *FILES)})
