"""Where files are kept, and how they are written so that a kill leaves the old or the new one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from repsim_energy.errors import RepsimError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "atomic_path",
    "cache_folder",
    "cache_path",
    "check_writable",
    "make_folder",
    "write_tensors",
]

STALE_SECONDS = 24 * 3600
"""A temporary file that was last written before so long was left by a process that was killed."""

PREFIX = ".repsim-tmp-"
"""What every temporary name starts with; a UUID and the name of the target follow."""

IN_CACHE = re.compile(r"\.(repsim-)?tmp-[0-9a-f]{32}-.+", re.DOTALL)
"""Temporary names in the cache, those of version 0.1 (without ``repsim-``) included."""


WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
"""The permissions of which a file that may be replaced has at least one."""


def cache_folder(*parts: str) -> Path:
    """Return (and make) a folder below the cache, which ``REPSIM_CACHE`` can move.

    Raises
    ------
    UsageError
        Where it cannot be made or written.
    """
    return make_folder(cache_path(*parts), "set REPSIM_CACHE to a folder that can be written")


def cache_path(*parts: str) -> Path:
    """Return where something stands in the cache, or would; nothing is made."""
    return _cache_root().joinpath(*parts)


def _cache_root() -> Path:
    if chosen := os.environ.get("REPSIM_CACHE"):
        return Path(chosen)
    try:
        return Path(platformdirs.user_cache_dir("repsim-energy"))
    except (RuntimeError, KeyError) as error:  # a user without an account has no home
        raise UsageError(
            f"no folder for the cache is known ({error}); set REPSIM_CACHE to a folder that can be "
            "written"
        ) from error


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
    """Refuse, before any work is done, a file that could not be written in the end.

    A symbolic link stands for the file it points to. That file is a new one, or a regular one that
    may be written. Devices, pipes and sockets are no places for a result, and a file without
    permission to write is kept even from a user who may do everything.

    Raises
    ------
    UsageError
        Where nothing could be written; nothing is changed.
    """
    try:
        target = _followed(path)
        if target.exists():
            _check_file(path, target.stat().st_mode, os.access(target, os.W_OK))
        temporary = _temporary(target)
        temporary.touch(exist_ok=False)
        temporary.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"output '{path}' cannot be written ({reason}), expected a file in an existing folder"
        ) from error


def _check_file(path: Path, mode: int, permitted: bool) -> None:
    if stat.S_ISDIR(mode):
        problem, remedy = "is a folder", "a file in an existing folder"
    elif not stat.S_ISREG(mode):
        problem, remedy = "is a device, pipe or socket", "a file"
    elif not (permitted and mode & WRITABLE):
        problem, remedy = "is write-protected", "another name, or a file that may be written"
    else:
        return
    raise UsageError(f"output '{path}' {problem}, expected {remedy}")


def _followed(path: Path) -> Path:
    """Return the file that a symbolic link stands for, which need not be there yet.

    Raises
    ------
    OSError
        For links in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve(strict=path.exists())
    except RuntimeError as error:  # what Python 3.12 and older say of a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def _temporary(target: Path) -> Path:
    return target.with_name(f"{PREFIX}{uuid.uuid4().hex}-{target.name}")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path to write; on success flush it to disk and rename it to ``target``.

    A file or a folder may be written. Whatever happens, ``target`` is the old one or the whole
    new one. A folder that is already at ``target`` (another process was faster) is kept. Where
    ``target`` is a symbolic link, what it points to is written and the link stays. A file that is
    replaced hands its permissions on.

    A process that is killed leaves its temporary file behind. The next one to write ``target``
    removes it after a day; in the cache it removes all that are so old, whatever their target.
    """
    with _said(target):
        target = _followed(target)
        _sweep(target)
        temporary = _temporary(target)
        try:
            yield temporary
            for path in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
                if path.is_file():
                    with path.open("rb+") as file:
                        os.fsync(file.fileno())
            if temporary.is_file() and target.is_file():
                shutil.copymode(target, temporary)
            try:
                os.replace(temporary, target)
            except OSError:
                if not (temporary.is_dir() and target.is_dir()):
                    raise
        finally:
            _remove(temporary)


@contextlib.contextmanager
def _said(target: Path) -> Iterator[None]:
    """Say in one line that a file could not be written."""
    try:
        yield
    except OSError as error:
        raise RepsimError(
            f"'{target}' could not be written ({error.strerror or error}); what was there before "
            "is unchanged, free some space or choose another place"
        ) from error


def _sweep(target: Path) -> None:
    """Remove what killed processes left of ``target``, and in the cache what they left at all."""
    of_target = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{32}}-{re.escape(target.name)}")
    try:
        in_cache = target.parent.resolve().is_relative_to(_cache_root().resolve())
    except UsageError:  # there is no cache
        in_cache = False
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


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors; the system itself says where it cannot.

    Raises
    ------
    OSError
        Such as for a full disk, which safetensors has errors of its own for.
    """
    from safetensors.torch import save

    path.write_bytes(save(dict(tensors), None if metadata is None else dict(metadata)))
