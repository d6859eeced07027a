"""Whether entries of the cache are whole, by the readers that use them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from repsim_energy.cache.entries import Entry
from repsim_energy.data.pixel_cache import checked_images
from repsim_energy.data.published import has_md5
from repsim_energy.data.torchvision_sets import published_md5
from repsim_energy.errors import FileError, RepsimError, reason_of
from repsim_energy.files.array_files import read_npz
from repsim_energy.files.seals import unsealed, unsealed_json
from repsim_energy.files.storage import cache_path
from repsim_energy.training.run_files import FILES, checked_tensors, is_sealed_run

__all__ = ["Verdict", "check"]


class Verdict(NamedTuple):
    """Whether an entry is ``whole``, ``broken`` or ``unknown``, and why."""

    state: str
    reason: str = ""


def check(entry: Entry) -> Verdict:
    """Read an entry with the reader that uses it. Nothing is changed, times of use included."""
    checker = CHECKERS.get(entry.kind)
    if checker is None:
        return Verdict("unknown", UNKNOWN.get(entry.kind, "no file of this package"))
    try:
        with _same_times(entry.path):
            return checker(entry)
    except (OSError, ValueError, KeyError, TypeError, RepsimError) as error:
        return Verdict("broken", reason_of(error))


UNKNOWN = {"temporary": "being written, or left behind by a process that was killed"}
"""Kind of entries that have no content to check -> why."""


def _check_run(entry: Entry) -> Verdict:
    if entry.run is not None and entry.run.damage:
        return Verdict("broken", entry.run.damage)
    for name in FILES:
        checked_tensors(entry.path, name)
    sealed = is_sealed_run(entry.path)
    return Verdict("whole", "" if sealed else "its manifest, of version 0.1, has no checksum")


def _check_seal(entry: Entry) -> Verdict:
    if entry.path.suffix == ".safetensors":
        return Verdict("unknown", "of an earlier version, and not read any more")
    unsealed(entry.path.read_bytes(), entry.path, "remove it")
    return Verdict("whole")


def _check_failed(entry: Entry) -> Verdict:
    unsealed_json(entry.path.read_bytes(), entry.path, "remove it")
    return Verdict("whole")


def _check_images(entry: Entry) -> Verdict:
    checked_images(entry.path)
    return Verdict("whole")


def _check_rendered(entry: Entry) -> Verdict:
    read_npz(entry.path, "remove it")
    return Verdict("whole")


def _check_lock(_: Entry) -> Verdict:
    return Verdict("whole")


def _check_download(entry: Entry) -> Verdict:
    """Compare downloaded files with their published sums."""
    files = [path for path in _files(entry.path) if path.is_file()]
    folder, sums = cache_path("data"), published_md5()
    known = {p: sums[n] for p in files if (n := p.relative_to(folder).as_posix()) in sums}
    for path, md5 in known.items():
        if not has_md5(path, md5):
            raise FileError(f"'{path}' has another MD5 sum than the published one, {md5}")
    return Verdict("whole") if known else Verdict("unknown", "no sum of it is known")


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*")) if path.is_dir() else [path]


@contextmanager
def _same_times(path: Path) -> Iterator[None]:
    """Restore the times of use of files, by which the least recently used are chosen."""
    before = {}
    for file in _files(path):
        with suppress(OSError):
            before[file] = file.stat()
    yield
    for file, state in before.items():
        with suppress(OSError):
            if file.stat().st_mtime_ns == state.st_mtime_ns:
                os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


CHECKERS: dict[str, Callable[[Entry], Verdict]] = {
    "run": _check_run,
    "partial": _check_seal,
    "failed": _check_failed,
    "images": _check_images,
    "rendered": _check_rendered,
    "crbm": _check_seal,
    "bases": _check_seal,
    "download": _check_download,
    "lock": _check_lock,
}
