"""A finished run as bytes, to be kept in the cache of another machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from repsim_energy.errors import FileError
from repsim_energy.storage import atomic_path, cache_folder
from repsim_energy.training.kept import FILES, MANIFEST, Run

__all__ = ["files_of", "keep_files"]


def files_of(run: Run) -> dict[str, bytes]:
    """Return the files of a cached run by their names."""
    assert run.folder is not None
    return {name: (run.folder / name).read_bytes() for name in (MANIFEST, *FILES)}


def keep_files(key: str, files: Mapping[str, bytes]) -> None:
    """Keep the files of a run that another machine made; it is there whole or not at all.

    Raises
    ------
    FileError
        Where the content is not what the run's manifest says.
    """
    expected = json.loads(files[MANIFEST])["sha256"]
    for name in FILES:
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise FileError(f"'{name}' of run {key[:16]} came back damaged, expected its SHA-256")
    with atomic_path(cache_folder("runs") / key) as temporary:
        temporary.mkdir()
        for name in (MANIFEST, *FILES):
            (temporary / name).write_bytes(files[name])
