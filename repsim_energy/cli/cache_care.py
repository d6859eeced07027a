"""``repsim cache verify`` and ``repsim cache gc``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import rich_click as click
from rich.filesize import decimal

from repsim_energy.cli import lazy
from repsim_energy.cli.cache_limits import agreed, bytes_of, seconds_of
from repsim_energy.cli.messages import say
from repsim_energy.cli.tables import print_line, print_rows
from repsim_energy.errors import UsageError
from repsim_energy.files.storage import cache_path
from repsim_energy.progress import working

if TYPE_CHECKING:
    from repsim_energy.cache import Entry, Verdict

__all__ = ["gc", "verify"]

STATES = ("whole", "broken", "unknown")


@click.command()
@click.option("--remove", "removing", is_flag=True, help="Remove what is broken.")
@click.option("--json", "as_json", is_flag=True, help="Print every entry as JSON.")
def verify(removing: bool, as_json: bool) -> int:
    """Read every file of the cache, and report what is whole, broken or unknown.

    Broken entries are made again when they are needed, with a warning. Exit code 1: something is
    broken, and not removed.

    Example: repsim cache verify --remove
    """
    entries = lazy.cache.list_entries()
    verdicts: dict[Entry, Verdict] = {}
    with working("checking the cache", len(entries), "entries") as advance:
        for entry in entries:
            if entry.path.exists() or entry.path.is_symlink():  # else removed meanwhile
                verdicts[entry] = lazy.cache.check(entry)
            advance(1)
    broken = [entry for entry, verdict in verdicts.items() if verdict.state == "broken"]
    if as_json:
        records = [_record(entry, verdict) for entry, verdict in verdicts.items()]
        click.echo(json.dumps({"folder": str(cache_path()), "entries": records}, indent=1))
    else:
        _print_verdicts(verdicts)
    failures = _remove(broken) if removing else {}
    return 3 if failures else int(bool(broken) and not removing)


@click.command()
@click.option(
    "--older-than",
    metavar="AGE",
    help="Remove what was not used for that long: hours, days or weeks, such as 30d.",
)
@click.option(
    "--max-size",
    metavar="SIZE",
    help="Remove the least recently used until the cache is no larger, such as 20GB.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def gc(older_than: str | None, max_size: str | None, dry_run: bool, yes: bool) -> int:
    """Remove what was not used for long, or the least recently used beyond a size.

    Runs, interrupted and failed trainings, decoded pictures, rendered images and patch bases are
    removed, all of which are made again when they are needed, and temporary files of killed
    processes. Downloads, files of others and trainings that go on stay. Exit code 3: some could not
    be removed.

    Example: repsim cache gc --older-than 30d --max-size 20GB
    """
    if older_than is None and max_size is None:
        raise UsageError("got no limit, expected --older-than such as 30d, --max-size such as 20GB")
    limits = lazy.cache.Limits(
        None if older_than is None else seconds_of(older_than),
        None if max_size is None else bytes_of(max_size),
    )
    entries = lazy.cache.list_entries()
    chosen = lazy.cache.choose(entries, limits)
    left = sum(entry.size for entry in entries) - sum(entry.size for entry in chosen)
    if dry_run and chosen:
        print_rows(["entry", "kind", "last used", "size"], [_row(entry) for entry in chosen])
    amount = f"{_count(chosen)}, {decimal(sum(e.size for e in chosen))}, in '{cache_path()}'"
    failures: Mapping[str, str] = {}
    if not chosen:
        say(f"there is nothing to remove in '{cache_path()}'")
    elif dry_run:
        say(f"would remove {amount}")
    elif not yes and not agreed(amount):
        say("nothing was removed")
    else:
        failures = _remove(chosen)
    if limits.size is not None and left > limits.size:
        say(f"{decimal(left)} are left: downloads, files of others, or trainings that go on")
    return 3 if failures else 0


def _remove(entries: Sequence[Entry]) -> dict[str, str]:
    """Remove entries, say how much, and return the reasons of those that stay."""
    failures = {
        entry: why
        for entry in entries
        if (why := lazy.stored_runs.remove_stored(entry.path, entry.key))
    }
    for entry, why in failures.items():
        say(f"failed: {entry.name} {why}")
    removed = [entry for entry in entries if entry not in failures]
    if removed:
        size = decimal(sum(entry.size for entry in removed))
        say(f"removed {_count(removed)}, {size}, from '{cache_path()}'")
    return {entry.name: why for entry, why in failures.items()}


def _count(entries: Sequence[Entry]) -> str:
    return f"{len(entries)} entries" if len(entries) != 1 else "1 entry"


def _print_verdicts(verdicts: Mapping[Entry, Verdict]) -> None:
    """Print the numbers for each kind, and a line for each entry that is broken."""
    kinds: dict[str, Counter[str]] = {}
    for entry, verdict in verdicts.items():
        kinds.setdefault(entry.kind, Counter()).update({verdict.state: 1, "bytes": entry.size})
    rows = [
        [kind, *(str(counts[state]) for state in STATES), decimal(counts["bytes"])]
        for kind, counts in kinds.items()
    ]
    print_rows(["kind", *STATES, "size"], rows, title=f"cache: {cache_path()}")
    for entry, verdict in verdicts.items():
        if verdict.state == "broken":
            print_line(f"broken: {entry.name}: {verdict.reason}")


def _record(entry: Entry, verdict: Verdict) -> dict[str, object]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "state": verdict.state,
        "reason": verdict.reason,
        "bytes": entry.size,
        "used": _time(entry).isoformat(timespec="seconds"),
    }


def _row(entry: Entry) -> list[str]:
    return [entry.name, entry.kind, f"{_time(entry):%Y-%m-%d %H:%M}", decimal(entry.size)]


def _time(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.used).astimezone()
