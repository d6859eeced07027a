"""Runs of the cache as files: what made them, their size, and their removal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from repsim_energy.errors import FileError, RepsimError, first_few, reason_of
from repsim_energy.files.storage import cache_folder, cache_path, remove_folder
from repsim_energy.training.run_files import FILES, MANIFEST, find_keys, read_manifest, run_folder

__all__ = [
    "KEY",
    "StoredRun",
    "locked_keys",
    "refuse_if_training",
    "remove_stored",
    "stored_runs",
    "total_size",
]

KEY = re.compile("[0-9a-f]{64}")
"""A SHA-256, which names the folder of a run."""

MAX_LISTED = 5
"""Maximum number of runs that an error lists."""


@dataclass(frozen=True)
class StoredRun:
    """A run in the cache.

    Parameters
    ----------
    key : of the run
    facts : its manifest: model, data set, seed, recipe, steps and versions; empty if the manifest
        cannot be read
    size : of its files, in bytes
    made : when it was stored, in seconds since 1970
    damage : what is wrong with its files, empty if nothing is
    """

    key: str
    facts: Mapping[str, Any]
    size: int
    made: float
    damage: str

    @property
    def run_id(self) -> str:
        """The first 16 digits of the key, as in ``result.run_id``."""
        return self.key[:16]

    @property
    def folder(self) -> Path:
        """Folder of its files."""
        return run_folder(self.key)


def stored_runs() -> list[StoredRun]:
    """Return the runs of the cache, the oldest first.

    A folder is a run if its name is a key and the manifest or a file of weights is in it, and
    nothing else. Everything else in the cache is passed over. No file of weights is read.
    """
    runs = (_stored_run(key) for key in find_keys("") if KEY.fullmatch(key))
    return sorted((run for run in runs if run is not None), key=lambda run: (run.made, run.key))


def _stored_run(key: str) -> StoredRun | None:
    folder = run_folder(key)
    try:
        files = {path.name: path.lstat() for path in folder.iterdir()}
    except OSError:  # not a folder, or removed meanwhile
        return None
    if folder.is_symlink() or not files or not files.keys() <= {MANIFEST, *FILES}:
        return None
    facts, damage = {}, ", ".join(f"no {name}" for name in (MANIFEST, *FILES) if name not in files)
    if MANIFEST in files:
        try:
            facts = read_manifest(folder)
        except (OSError, FileError) as error:
            damage = reason_of(error)
    return StoredRun(
        key=key,
        facts=facts,
        size=sum(state.st_size for state in files.values()),
        made=max(state.st_mtime for state in files.values()),
        damage=damage,
    )


def refuse_if_training() -> None:
    """Refuse if any process trains a run of this cache.

    Locks on some network file systems have no effect; nothing is noticed there.

    Raises
    ------
    RepsimError
        If a run is locked.
    """
    if busy := locked_keys():
        listed = first_few([key[:16] for key in busy], MAX_LISTED)
        raise RepsimError(
            f"runs are being trained ({listed}), expected none while runs are removed; "
            "wait until the training has ended"
        )


def locked_keys() -> list[str]:
    """Return the keys of the trainings that go on.

    Raises
    ------
    RepsimError
        If a lock cannot be opened.
    """
    folder = cache_path("locks")
    locks = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path.name for path in locks if KEY.fullmatch(path.name) and _is_locked(path)]


def _is_locked(path: Path) -> bool:
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError as error:
        raise RepsimError(
            f"the lock '{path}' cannot be opened ({error.strerror or error}), so it is not known "
            "whether a run is being trained; nothing was removed"
        ) from error


def remove_stored(path: Path, key: str = "") -> str:
    """Remove a file or folder of the cache, under the lock of the training that it belongs to.

    A folder is renamed at once, and then deleted.

    Parameters
    ----------
    path : of the file or folder
    key : of the training, empty if it belongs to none

    Returns
    -------
    str
        Why it could not be removed, empty if it was.
    """
    try:
        with ExitStack() as locks:
            if key:
                locks.enter_context(filelock.FileLock(cache_folder("locks") / key, timeout=0))
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)
    except filelock.Timeout:
        return "is being trained"
    except OSError as error:
        return f"cannot be removed ({error.strerror or error})"
    return ""


def total_size(paths: Iterable[Path]) -> tuple[int, int]:
    """Return the number of files below some paths, and their size in bytes. Links count as such."""
    sizes = []
    for path in paths:
        files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
        for file in files:
            try:
                state = file.lstat()
            except OSError:  # removed meanwhile
                continue
            if not file.is_dir() or file.is_symlink():
                sizes.append(state.st_size)
    return len(sizes), sum(sizes)
