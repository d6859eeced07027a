"""Entries of the cache, each recognized by its folder and name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repsim_energy.errors import FileError
from repsim_energy.files.seals import unsealed_json
from repsim_energy.files.storage import IN_CACHE, cache_path
from repsim_energy.training.partial_run import facts_of
from repsim_energy.training.run_files import FILES
from repsim_energy.training.stored_runs import KEY, StoredRun, stored_runs, total_size

__all__ = ["MADE", "OF_A_RUN", "Entry", "list_entries"]

RENDERED = r"deadleaves-v\d+-\w+-\d+-seed-?\d+\.npz"

PLACES = (
    ("partial", KEY.pattern, "partial"),
    ("failed", KEY.pattern + r"\.json", "failed"),
    ("images", r"[0-9a-f]{32}\.npy", "images"),
    ("data", RENDERED, "rendered"),
    ("data", ".+", "download"),
    ("crbm", KEY.pattern + r"\.(sealed|safetensors)", "crbm"),
    ("bases", KEY.pattern + r"\.sealed", "bases"),
    ("locks", KEY.pattern, "lock"),
)
"""Folder, pattern of names in it, and kind of what is there."""

OF_A_RUN = frozenset(("run", "partial", "failed"))
"""Kinds that belong to the training whose key is in their name."""

MADE = OF_A_RUN | {"images", "rendered", "crbm", "bases"}
"""Kinds that this package made, and makes again."""

MARKED = frozenset(("run", "images", "rendered", "crbm", "bases"))
"""Kinds of which the time of access is set when they are used."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A file or folder of the cache.

    Parameters
    ----------
    kind : ``run``, ``partial`` (a training that goes on from there), ``failed`` (record of a
        training that failed), ``images`` (pixels of pictures), ``rendered``, ``crbm``,
        ``bases`` (of patches), ``download`` (what is in ``data`` besides), ``lock``, ``temporary``,
        or ``unknown``
    path : of the file or folder
    size : in bytes
    used : when it was last written or read, in seconds since 1970
    run : if it is one
    facts : what made it, as far as that is known without reading it all
    """

    kind: str
    path: Path
    size: int
    used: float
    run: StoredRun | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path in the cache."""
        return self.path.relative_to(cache_path()).as_posix()

    @property
    def key(self) -> str:
        """The key of the training that it belongs to, empty for other kinds."""
        return self.path.name[:64] if self.kind in OF_A_RUN else ""


def list_entries() -> list[Entry]:
    """Return everything in the cache, in the order of names. Nothing is read but small texts."""
    runs = {run.folder: run for run in stored_runs()}
    return [_entry(kind, path, runs.get(path)) for kind, path in _places(set(runs))]


def _places(runs: set[Path]) -> Iterator[tuple[str, Path]]:
    for top in _children(cache_path()):
        if top.is_symlink() or not top.is_dir():
            yield _kind(top, "unknown"), top
            continue
        for path in _children(top):
            kind = "run" if path in runs else _kind_in(top.name, path)
            yield _kind(path, kind), path


def _kind_in(folder: str, path: Path) -> str:
    plain = path.is_file() and not path.is_symlink()
    for place, pattern, kind in PLACES:
        if place == folder and re.fullmatch(pattern, path.name):
            return kind if plain or kind == "download" else "unknown"
    return "unknown"


def _kind(path: Path, kind: str) -> str:
    """Return ``temporary`` for a temporary name, else the kind."""
    return "temporary" if IN_CACHE.fullmatch(path.name) else kind


def _entry(kind: str, path: Path, run: StoredRun | None) -> Entry:
    read = path / FILES[0] if run is not None else path
    try:
        state = (read if read.exists() else path).lstat()
        used = max(state.st_atime, state.st_mtime) if kind in MARKED else state.st_mtime
    except OSError:  # removed meanwhile
        used = 0.0
    facts = dict(run.facts) if run is not None else _facts(kind, path)
    return Entry(kind, path, total_size([path])[1], used, run, facts)


def _facts(kind: str, path: Path) -> dict[str, Any]:
    """Return the facts of an unfinished or failed training, nothing if they cannot be read."""
    if kind == "partial":
        return facts_of(path)
    if kind != "failed":
        return {}
    try:
        return unsealed_json(path.read_bytes(), path, "")
    except (OSError, ValueError, FileError):
        return {}


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # missing, or no folder
        return []
