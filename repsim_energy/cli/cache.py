"""``repsim cache``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.filesize import decimal

from repsim_energy.cli import lazy
from repsim_energy.cli.cache_care import gc, verify
from repsim_energy.cli.cache_limits import agreed, seconds_of
from repsim_energy.cli.messages import say
from repsim_energy.cli.tables import print_rows
from repsim_energy.files.storage import cache_path

if TYPE_CHECKING:
    from repsim_energy.cache import Entry
    from repsim_energy.training.stored_runs import StoredRun

__all__ = ["cache"]


@click.group(invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """List the stored runs and what else is in the cache, check it, or remove a part.

    Without a word after it: the list.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_runs, as_json=False)


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with the whole recipes.")
def list_runs(as_json: bool) -> None:
    """List the runs with what made them, the oldest first, and the size of everything.

    The word ls is the same. Trainings that were interrupted or failed are listed below. Files are
    not read: repsim cache verify does that.
    """
    runs = lazy.stored_runs.stored_runs()
    folders = _folders(runs)
    unfinished = [e for e in lazy.cache.list_entries() if e.kind in ("partial", "failed")]
    if as_json:
        content = {
            "folder": str(cache_path()),
            "runs": [_record(run) for run in runs],
            "unfinished": [_unfinished(entry) for entry in unfinished],
            "other": {name: {"files": n, "bytes": size} for name, (n, size) in folders.items()},
        }
        click.echo(json.dumps(content, indent=1))
        return
    if runs:
        print_rows(["run", "stored", "model", "data set", "seed", "steps", "size"], _rows(runs))
    if unfinished:
        rows = [[*map(str, _unfinished(entry).values())] for entry in unfinished]
        print_rows(["training", "state", "stored", "model", "data set", "seed", "bytes"], rows)
    size = decimal(sum(run.size for run in runs))
    rows = [["runs", str(len(runs)), size]]
    rows += [[name, f"{count} files", decimal(size)] for name, (count, size) in folders.items()]
    print_rows(["content", "number", "size"], rows, title=f"cache: {cache_path()}")


@cache.command("path")
def show_path() -> None:
    """Print the folder of the cache. The environment variable REPSIM_CACHE moves it."""
    click.echo(cache_path())


@cache.command("clear")
@click.option(
    "--older-than",
    metavar="AGE",
    help="Remove only runs that were stored before that: hours, days or weeks, such as 30d.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(older_than: str | None, yes: bool) -> int:
    """Remove runs from the cache. Their networks are trained again when they are needed.

    No other file of the cache is removed, and stored results stay complete. It is refused while
    another process trains.

    Example: repsim cache clear --older-than 30d
    """
    before = time.time() - (0.0 if older_than is None else seconds_of(older_than))
    runs = [run for run in lazy.stored_runs.stored_runs() if run.made <= before]
    if not runs:
        say(f"there is no run to remove in '{cache_path('runs')}'")
        return 0
    amount = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    amount = f"{amount}, {decimal(sum(run.size for run in runs))}, in '{cache_path('runs')}'"
    lazy.stored_runs.refuse_if_training()
    if not yes and not agreed(amount):
        say("nothing was removed")
        return 0
    failures = {
        run.run_id: why
        for run in runs
        if (why := lazy.stored_runs.remove_stored(run.folder, run.key))
    }
    for run_id, why in failures.items():
        say(f"failed: run {run_id} {why}")
    say(f"removed {len(runs) - len(failures)} of {amount}" if failures else f"removed {amount}")
    return 3 if failures else 0


def _rows(runs: Sequence[StoredRun]) -> list[list[str]]:
    return [
        [
            run.run_id,
            f"{datetime.fromtimestamp(run.made):%Y-%m-%d %H:%M}",
            str(run.facts.get("model", "?")) + (f" ({run.damage})" if run.damage else ""),
            str(run.facts.get("dataset", "?")),
            str(run.facts.get("seed", "?")),
            str(run.facts.get("steps", "?")),
            decimal(run.size),
        ]
        for run in runs
    ]


def _record(run: StoredRun) -> dict[str, object]:
    return {
        "run_id": run.run_id,
        "key": run.key,
        "stored": datetime.fromtimestamp(run.made).astimezone().isoformat(timespec="seconds"),
        "bytes": run.size,
        "damage": run.damage,
        "folder": str(run.folder),
        "made_by": dict(run.facts),
    }


def _unfinished(entry: Entry) -> dict[str, object]:
    """Return the facts of a training that was interrupted, has failed, or goes on."""
    going_on = entry.kind == "partial" and entry.key in lazy.stored_runs.locked_keys()
    return {
        "run_id": entry.key[:16],
        "state": "being trained" if going_on else entry.kind,
        "stored": datetime.fromtimestamp(entry.used).astimezone().isoformat(timespec="seconds"),
        **{name: entry.facts.get(name, "?") for name in ("model", "dataset", "seed")},
        "bytes": entry.size,
    }


def _folders(runs: Sequence[StoredRun]) -> dict[str, tuple[int, int]]:
    """Return name -> number and size of the files of the cache besides its runs."""
    known = {run.folder for run in runs}
    inside = _entries(cache_path("runs"))
    others = {"others in runs": [path for path in inside if path not in known]}
    others |= {path.name: [path] for path in _entries(cache_path()) if path.name != "runs"}
    sizes = {name: lazy.stored_runs.total_size(paths) for name, paths in others.items()}
    return {name: size for name, size in sizes.items() if size[0]}


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


ls = copy(list_runs)
ls.name = "ls"  # pages call a command by its own name
cache.add_command(ls)
cache.add_command(verify)
cache.add_command(gc)
