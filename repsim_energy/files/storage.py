"""The cache folder, and atomic writing of files."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from repsim_energy.errors import RepsimError, UsageError, warn

__all__ = [
    "atomic_path",
    "cache_folder",
    "cache_path",
    "check_writable",
    "is_stale",
    "make_folder",
    "mark_used",
    "remove_folder",
    "temporary_folder",
]

STALE_SECONDS = 24 * 3600
"""Age from which a temporary file counts as left behind by a killed process."""

PREFIX = ".repsim-tmp-"
"""Start of temporary names; a UUID and the name of the target follow."""

IN_CACHE = re.compile(r"\.(repsim-)?tmp-[0-9a-f]{32}-.+", re.DOTALL)
"""Temporary names in the cache, including those of version 0.1 (without ``repsim-``)."""

TEMPORARY_FOLDER = re.compile(r"repsim-(\d{1,10})-\w+")
"""Names of temporary folders of the system, with the number of the process that made them."""

UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)
"""Error numbers of file systems that cannot flush a folder."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk."""

WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
"""Write permissions. A file with none of them is not replaced."""


def cache_folder(*parts: str) -> Path:
    """Create and return a folder in the cache, which the variable ``REPSIM_CACHE`` can move.

    Raises
    ------
    UsageError
        If it cannot be created or written.
    """
    return make_folder(cache_path(*parts), "set REPSIM_CACHE to a folder that can be written")


def cache_path(*parts: str) -> Path:
    """Return the path of an entry of the cache. Create nothing."""
    return _cache_root().joinpath(*parts)


def _cache_root() -> Path:
    if folder := os.environ.get("REPSIM_CACHE"):
        return Path(folder)
    try:
        return Path(platformdirs.user_cache_dir("repsim-energy"))
    except (RuntimeError, KeyError) as error:  # a user without an account has no home
        raise UsageError(
            f"no folder for the cache is known ({error}); set REPSIM_CACHE to a folder that can be "
            "written"
        ) from error


def make_folder(folder: Path, remedy: str) -> Path:
    """Create a folder unless it exists, check that it can be written, and return it.

    Parameters
    ----------
    remedy : advice at the end of the error message

    Raises
    ------
    UsageError
        If it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RecursionError) as error:  # ValueError: a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the folder '{folder}' cannot be created ({reason}); {remedy}") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder '{folder}' cannot be written; {remedy}")
    return folder


def check_writable(path: Path) -> None:
    """Check before any work that a result can be written to a path. Change nothing.

    The path, or the target of a symbolic link, must be a new file in an existing folder or a
    regular file with permission to write. A write-protected file is refused even for root.

    Raises
    ------
    UsageError
        If it could not be written.
    RepsimError
        If the disk has no room for another file.
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
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise _unwritten(path, error) from error
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
    """Return the target of a symbolic link, which may not exist yet; other paths as they are.

    Raises
    ------
    OSError
        If links form a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve(strict=path.exists())
    except RuntimeError as error:  # raised for a circle by Python 3.12 and older
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def _temporary(target: Path) -> Path:
    return target.with_name(f"{PREFIX}{uuid.uuid4().hex}-{target.name}")


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path; on success flush it to disk and rename it to ``target``.

    The path may become a file or a folder. At any time, ``target`` is either the old one or the
    complete new one, also after a power cut. On POSIX systems the new name is flushed too, so that
    it is there once this returns. An existing folder is not replaced, because another process
    wrote it first. If ``target`` is a symbolic link, its target is replaced and the link stays. A
    new file gets the permissions of the file that it replaces.

    A killed process leaves its temporary file behind. After a day, the next process that writes
    the same ``target`` removes it. In the cache, any process removes all files that are so old.

    Raises
    ------
    RepsimError
        If the system refuses to write.

    Warns
    -----
    RepsimWarning
        If the file is written, and the system refuses to flush its name.
    """
    with _one_line_errors(target):
        target = _followed(target)
        _sweep(target)
        temporary = _temporary(target)
        try:
            yield temporary
            for path in (temporary, *temporary.rglob("*")):
                if path.is_file():
                    with path.open("rb+") as file:
                        os.fsync(file.fileno())
                else:
                    _flush_folder(path)
            if temporary.is_file() and target.is_file():
                shutil.copymode(target, temporary)
            try:
                os.replace(temporary, target)
            except OSError:
                if not (temporary.is_dir() and target.is_dir()):
                    raise
            else:
                _flush_name(target)
        finally:
            _remove(temporary)


def _flush_name(target: Path) -> None:
    try:
        _flush_folder(target.parent)
    except OSError as error:
        warn(
            f"'{target}' is written, but the system does not confirm that it is on the disk "
            f"({error.strerror or error}); look after the disk"
        )


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system can."""
    if os.name != "posix":
        return
    try:
        number = os.open(folder, os.O_RDONLY)
    except OSError:  # it may be written, and not be read
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(number)


@contextlib.contextmanager
def _one_line_errors(target: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a ``RepsimError`` that names the file."""
    try:
        yield
    except OSError as error:
        raise _unwritten(target, error) from error


def _unwritten(target: Path, error: OSError) -> RepsimError:
    return RepsimError(
        f"'{target}' could not be written ({error.strerror or error}); what was there before "
        "is unchanged, free some space or choose another place"
    )


def _sweep(target: Path) -> None:
    """Remove temporary files of killed processes: of ``target``, and in the cache all of them."""
    of_target = re.compile(rf"{re.escape(PREFIX)}[0-9a-f]{{32}}-{re.escape(target.name)}")
    try:
        in_cache = target.parent.resolve().is_relative_to(_cache_root().resolve())
    except UsageError:  # there is no cache
        in_cache = False
    abandoned = IN_CACHE if in_cache else of_target
    for path in target.parent.glob(".*tmp-*"):
        with contextlib.suppress(OSError):  # another process may remove it at the same time
            if abandoned.fullmatch(path.name) and is_stale(path):
                _remove(path)


def is_stale(temporary: Path) -> bool:
    """Return whether a temporary file, or the newest file in a folder, is older than a day."""
    times = [path.lstat().st_mtime for path in (temporary, *temporary.rglob("*"))]
    return time.time() - max(times) > STALE_SECONDS


def mark_used(path: Path) -> None:
    """Set the time of access of a file, which not every file system does when it is read."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def remove_folder(folder: Path) -> None:
    """Give a folder a temporary name, so that it is gone at once, and delete its files."""
    temporary = _temporary(folder)
    os.replace(folder, temporary)
    _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder among the temporary files of the system, and remove it at the end.

    That of a killed process stays. After a day, the next process that needs one removes it.

    Raises
    ------
    OSError
        If it cannot be created.
    """
    import psutil

    for path in Path(tempfile.gettempdir()).glob("repsim-*-*"):
        with contextlib.suppress(OSError):  # another process may remove it at the same time
            made = TEMPORARY_FOLDER.fullmatch(path.name)
            if made and not psutil.pid_exists(int(made[1])) and is_stale(path):
                _remove(path)
    with tempfile.TemporaryDirectory(prefix=f"repsim-{os.getpid()}-") as folder:
        yield Path(folder)
