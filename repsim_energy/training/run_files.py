"""Files of cached runs: their folders, locks, hashes, and those that could not be written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from repsim_energy.errors import FileError, RepsimError, RepsimWarning, UsageError
from repsim_energy.storage import atomic_path, cache_folder, cache_path

__all__ = [
    "FILES",
    "MANIFEST",
    "UNKEPT",
    "checked_tensors",
    "files_of",
    "find_keys",
    "held_files",
    "is_kept",
    "keep_received",
    "locked",
    "read_manifest",
    "read_tensors",
    "run_folder",
    "write_files",
]

MANIFEST = "run.json"
"""File with the configuration of the run, and the SHA-256 of the other files."""

FILES = ("filters.safetensors", "model.safetensors")

UNKEPT = "runs cannot be kept"
"""Beginning of the warning if runs cannot be written."""

_held: dict[Path, Mapping[str, bytes]] = {}
"""Folder -> the files of a run that could not be written there, in memory."""


def run_folder(key: str) -> Path:
    """Return the folder of the run of a key, which may not exist."""
    return cache_path("runs", key)


def is_kept(key: str) -> bool:
    """Return whether a run is in the cache, or in memory because it could not be written."""
    return run_folder(key).exists() or run_folder(key) in _held


def find_keys(prefix: str) -> list[str]:
    """Return the keys of all runs in the cache, and of those held in memory, with a prefix.

    Parameters
    ----------
    prefix : first hexadecimal digits
    """
    held = {folder.name for folder in _held if folder.name.startswith(prefix)}
    stored = {f.name for f in cache_path("runs").glob("*") if f.name.startswith(prefix)}
    return sorted(stored | held)


@contextlib.contextmanager
def locked(keys: Iterable[str]) -> Iterator[None]:
    """Lock runs, always in one order, so that two processes do not train the same.

    Where locks have no effect (some network file systems), both train, and the run that is finished
    first is stored.
    """
    cache_folder("runs")  # refused now, not once the run is made
    with contextlib.ExitStack() as locks:
        for key in sorted(keys):
            place = cache_folder("locks") / key
            try:
                locks.enter_context(filelock.FileLock(place))
            except OSError as error:
                raise UsageError(
                    f"the lock '{place}' cannot be created ({error.strerror or error}); free some "
                    "space, or move REPSIM_CACHE"
                ) from error
        yield


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run, unchecked.

    Raises
    ------
    OSError, ValueError
        If it is missing, or not a JSON object.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(manifest, dict):
        raise ValueError("it is not a JSON object")
    return manifest


def held_files(key: str) -> Mapping[str, bytes] | None:
    """Return the files of a run that could not be written, by their names."""
    return _held.get(run_folder(key))


def checked_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a cached file whose hash is that of the manifest."""
    path = folder / name
    expected = read_manifest(folder)["sha256"][name]
    content = path.read_bytes()  # hashed and parsed from memory: the file may change meanwhile
    if hashlib.sha256(content).hexdigest() != expected:
        raise FileError(f"'{path}' is not what was written; delete its folder to train it anew")
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise FileError(f"'{path}' cannot be read ({error})") from error
    return tensors


def read_tensors(key: str, name: str) -> dict[str, Tensor]:
    """Return the tensors of a file of a run, from memory if it could not be written."""
    held = held_files(key)
    return checked_tensors(run_folder(key), name) if held is None else load(held[name])


def files_of(key: str) -> Mapping[str, bytes]:
    """Return the files of a finished run, for another process to store."""
    folder = run_folder(key)
    return held_files(key) or {name: (folder / name).read_bytes() for name in (MANIFEST, *FILES)}


def keep_received(key: str, files: Mapping[str, bytes]) -> None:
    """Store the files of a run of another process, all or none.

    Raises
    ------
    FileError
        If a file does not have the SHA-256 of the manifest.
    """
    expected = json.loads(files[MANIFEST])["sha256"]
    for name in FILES:
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise FileError(f"'{name}' of run {key[:16]} came back damaged, expected its SHA-256")
    write_files(key, {name: files[name] for name in (MANIFEST, *FILES)})


def write_files(key: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a run. Its folder gets its name once all files are written.

    Warns
    -----
    RepsimWarning
        If they cannot be written. They then stay in memory until this process ends.
    """
    try:
        with atomic_path(cache_folder("runs") / key) as temporary:
            temporary.mkdir()
            for name, content in files.items():
                (temporary / name).write_bytes(content)
    except RepsimError as error:
        _held[run_folder(key)] = files
        reason = getattr(error.__cause__, "strerror", None) or error
        warnings.warn(
            f"{UNKEPT} in '{cache_path('runs')}' ({reason}) and are held in memory until this "
            "process ends; free some space, or move REPSIM_CACHE",
            RepsimWarning,
            stacklevel=2,
        )
