"""Files of cached runs: their folders, locks, hashes, and those that could not be written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from repsim_energy.errors import FileError, RepsimError, UsageError, reason_of, warn
from repsim_energy.files.seals import sealed_json, unsealed_json
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path

__all__ = [
    "FILES",
    "MANIFEST",
    "UNKEPT",
    "checked_tensors",
    "files_of",
    "find_keys",
    "held_files",
    "is_kept",
    "is_sealed_run",
    "keep_received",
    "locked",
    "manifest_bytes",
    "manifest_of",
    "read_manifest",
    "read_tensors",
    "run_folder",
    "write_files",
]

MANIFEST = "run.json"
"""File with the configuration of the run, and the SHA-256 of the other files."""

FILES = ("filters.safetensors", "model.safetensors")

UNSEALED_ENTRIES = frozenset(
    ("model", "identity", "dataset", "train_fingerprint", "seed", "recipe", "seconds", "torch",
     "threads", "layer", "normalisation", "train_accuracy", "test_accuracy", "steps", "sha256")
)  # fmt: skip
"""Entries of the manifests of version 0.1, which have no key and no seal."""

REMEDY = "delete its folder to train it anew"

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


def manifest_bytes(key: str, facts: Mapping[str, Any]) -> bytes:
    """Return the manifest of a run as a file: JSON with the key of the run and a seal."""
    return sealed_json({"key": key, **facts})


def manifest_of(data: bytes, key: str) -> dict[str, Any]:
    """Return the facts in a manifest, whose seal and key are right.

    Manifests of version 0.1 have neither. They are recognized by their entries, which no single
    fault makes of a sealed one: its key is first and its seal last.

    Raises
    ------
    FileError
        If it is damaged, or of another run.
    """
    try:
        facts = json.loads(data)
    except ValueError as error:
        raise FileError(f"'{MANIFEST}' is damaged ({reason_of(error)}); {REMEDY}") from error
    if isinstance(facts, dict) and facts.keys() <= UNSEALED_ENTRIES:
        return facts
    facts = unsealed_json(data, MANIFEST, REMEDY)
    if facts.pop("key", None) != key:
        raise FileError(f"'{MANIFEST}' is of another run than {key[:16]}; {REMEDY}")
    return facts


def is_sealed_run(folder: Path) -> bool:
    """Return whether the manifest of a run has a seal, which those of version 0.1 lack.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    return "seal" in json.loads((folder / MANIFEST).read_bytes())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of the run in a folder.

    Raises
    ------
    OSError, FileError
        If it is missing, damaged or of another run.
    """
    return manifest_of((folder / MANIFEST).read_bytes(), folder.name)


def held_files(key: str) -> Mapping[str, bytes] | None:
    """Return the files of a run that could not be written, by their names."""
    return _held.get(run_folder(key))


def checked_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a cached file whose hash is that of the manifest."""
    path = folder / name
    expected = read_manifest(folder)["sha256"][name]
    content = path.read_bytes()  # hashed and parsed from memory: the file may change meanwhile
    if hashlib.sha256(content).hexdigest() != expected:
        raise FileError(f"'{path}' is not what was written; {REMEDY}")
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
        If the manifest is damaged, or a file does not have the SHA-256 in it.
    """
    expected = manifest_of(files[MANIFEST], key)["sha256"]
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
        warn(
            f"{UNKEPT} in '{cache_path('runs')}' ({reason}) and are held in memory until this "
            "process ends; free some space, or move REPSIM_CACHE"
        )
