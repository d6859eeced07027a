"""``repsim cache``."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.filesize import decimal

from repsim_energy.cli import lazy
from repsim_energy.cli.app import say
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import UsageError
from repsim_energy.storage import cache_path

if TYPE_CHECKING:
    from repsim_energy.training.stored_runs import StoredRun

__all__ = ["cache"]

SECONDS = {"h": 3600, "d": 86400, "w": 604800}
"""Unit of an age -> its length in seconds."""


@click.group(invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """List the stored runs and what else is in the cache, or remove runs.

    Without a word after it: the list.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_runs, as_json=False)


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with the whole recipes.")
def list_runs(as_json: bool) -> None:
    """List the runs with what made them, the oldest first, and the size of everything."""
    runs = lazy.stored_runs.stored_runs()
    folders = _folders(runs)
    if as_json:
        content = {
            "folder": str(cache_path()),
            "runs": [_record(run) for run in runs],
            "other": {name: {"files": n, "bytes": size} for name, (n, size) in folders.items()},
        }
        click.echo(json.dumps(content, indent=1))
        return
    if runs:
        print_rows(["run", "stored", "model", "data set", "seed", "steps", "size"], _rows(runs))
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
    before = time.time() - (0.0 if older_than is None else _seconds(older_than))
    runs = [run for run in lazy.stored_runs.stored_runs() if run.made <= before]
    if not runs:
        say(f"there is no run to remove in '{cache_path('runs')}'")
        return 0
    amount = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    amount = f"{amount}, {decimal(sum(run.size for run in runs))}, in '{cache_path('runs')}'"
    lazy.stored_runs.refuse_if_training()
    if not yes and not _agreed(amount):
        say("nothing was removed")
        return 0
    failures = {run.run_id: why for run in runs if (why := lazy.stored_runs.remove_run(run))}
    for run_id, why in failures.items():
        say(f"failed: run {run_id} {why}")
    say(f"removed {len(runs) - len(failures)} of {amount}" if failures else f"removed {amount}")
    return 3 if failures else 0


def _agreed(amount: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked whether to remove {amount}, expected --yes")
    return click.confirm(f"Remove {amount}?", err=True)


def _seconds(age: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", age.strip())
    if match is None:
        raise UsageError(
            f"got the age '{age}', expected a number of hours, days or weeks such as 12h, 30d or 8w"
        )
    return float(match[1]) * SECONDS[match[2]]


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
