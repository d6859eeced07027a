"""Where files are kept, and how they are written so that a kill leaves the old or the new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from repsim_energy.errors import RepsimError, UsageError

__all__ = ["atomic_path", "cache_folder", "check_writable", "make_folder", "sha256_of"]

STALE_SECONDS = 24 * 3600
"""A temporary file older than this was left by a process that was killed."""


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder below the cache, which ``REPSIM_CACHE`` can move.

    Raises
    ------
    UsageError
        Where it cannot be made or written.
    """
    root = os.environ.get("REPSIM_CACHE") or platformdirs.user_cache_dir("repsim-energy")
    return make_folder(Path(root, *parts), "set REPSIM_CACHE to a folder that can be written")


def make_folder(folder: Path, remedy: str) -> Path:
    """Return a folder that can be written, made where there is none.

    Raises
    ------
    UsageError
        Where it cannot be made or written; ``remedy`` says what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder '{folder}' cannot be made ({error.strerror}); {remedy}"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder '{folder}' cannot be written; {remedy}")
    return folder


def check_writable(path: Path) -> None:
    """Refuse, before any work is done, a file that could not be written in the end."""
    folder = path.resolve().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        reason = "is a folder" if path.is_dir() else f"cannot be written in '{folder}'"
        raise UsageError(f"output '{path}' {reason}, expected a file in an existing folder")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to write; on success flush it to disk and rename it to ``target``.

    A file or a folder may be written. Whatever happens, ``target`` is the old one or the whole
    new one. A folder that is already at ``target`` (another process was faster) is kept.
    """
    _sweep(target.parent)
    temporary = target.with_name(f".tmp-{uuid.uuid4().hex}-{target.name}")
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        if not (temporary.is_dir() and target.exists()):
            os.replace(temporary, target)
    except OSError as error:
        raise RepsimError(
            f"'{target}' could not be written ({error.strerror or error}); what was there before "
            "is unchanged, free some space or choose another place"
        ) from error
    finally:
        _remove(temporary)


def _sweep(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            for child in path.iterdir():
                child.unlink()
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
