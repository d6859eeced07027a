"""Where files are kept, and how they are written so that a kill leaves the old or the new one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from repsim_energy.errors import RepsimError, UsageError

__all__ = ["atomic_path", "cache_folder", "check_writable", "make_folder", "sha256_of"]

STALE_SECONDS = 24 * 3600
"""A temporary file that was last written before so long was left by a process that was killed."""

PREFIX = ".repsim-tmp-"
"""What every temporary name starts with; a UUID and the name of the target follow."""

IN_CACHE = re.compile(r"\.(repsim-)?tmp-[0-9a-f]{32}-.+", re.DOTALL)
"""Temporary names in the cache, those of version 0.1 (without ``repsim-``) included."""


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder below the cache, which ``REPSIM_CACHE`` can move.

    Raises
    ------
    UsageError
        Where it cannot be made or written.
    """
    folder = _cache_root().joinpath(*parts)
    return make_folder(folder, "set REPSIM_CACHE to a folder that can be written")


def _cache_root() -> Path:
    return Path(os.environ.get("REPSIM_CACHE") or platformdirs.user_cache_dir("repsim-energy"))


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

    A process that is killed leaves its temporary file behind. The next one to write ``target``
    removes it after a day; in the cache it removes all that are so old, whatever their target.
    """
    _sweep(target)
    temporary = target.with_name(f"{PREFIX}{uuid.uuid4().hex}-{target.name}")
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
            if path.is_file():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
        try:
            os.replace(temporary, target)
        except OSError:
            if not (temporary.is_dir() and target.is_dir()):
                raise
    except OSError as error:
        raise RepsimError(
            f"'{target}' could not be written ({error.strerror or error}); what was there before "
            "is unchanged, free some space or choose another place"
        ) from error
    finally:
        _remove(temporary)


def _sweep(target: Path) -> None:
    """Remove what killed processes left of ``target``, and in the cache what they left at all."""
    of_target = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{32}}-{re.escape(target.name)}")
    in_cache = target.parent.resolve().is_relative_to(_cache_root().resolve())
    ours = IN_CACHE if in_cache else of_target
    for path in target.parent.glob(".*tmp-*"):
        with contextlib.suppress(OSError):  # another process may be at it too
            if ours.fullmatch(path.name) and _age(path) > STALE_SECONDS:
                _remove(path)


def _age(path: Path) -> float:
    """Return how many seconds ago a file, or anything in a folder, was written."""
    written = [p.lstat().st_mtime for p in (path, *path.rglob("*"))]
    return time.time() - max(written)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
