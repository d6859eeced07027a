"""Which entries of the cache to remove."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from repsim_energy.cache.entries import MADE, Entry
from repsim_energy.files.storage import is_stale
from repsim_energy.training.stored_runs import locked_keys

__all__ = ["Limits", "choose"]


@dataclass(frozen=True)
class Limits:
    """Limits of the age of entries and of the size of the cache.

    Parameters
    ----------
    seconds : time without use after which an entry is removed; ``None`` for any
    size : bytes of the whole cache, beyond which the least recently used entries are removed;
        ``None`` for any
    """

    seconds: float | None = None
    size: int | None = None


def choose(entries: Iterable[Entry], limits: Limits) -> list[Entry]:
    """Return the entries to remove, the least recently used first.

    They are of this package, can be made again, and belong to no training that goes on. Temporary
    files that are older than a day always go.
    """
    entries, busy = list(entries), locked_keys()
    chosen = [entry for entry in entries if entry.kind == "temporary" and is_stale(entry.path)]
    left = sum(entry.size for entry in entries) - sum(entry.size for entry in chosen)
    before = time.time() - (limits.seconds or 0.0)
    made = [entry for entry in entries if entry.kind in MADE and entry.key not in busy]
    for entry in sorted(made, key=lambda entry: (entry.used, entry.name)):
        too_old = limits.seconds is not None and entry.used <= before
        if too_old or (limits.size is not None and left > limits.size):
            chosen.append(entry)
            left -= entry.size
    return chosen
