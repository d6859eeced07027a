"""Options that several commands share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from repsim_energy.cli.completion import alternatives, datasets_or_paths, models_or_files
from repsim_energy.cli.parameters import LIST, SEEDS
from repsim_energy.errors import UsageError
from repsim_energy.options import path_of
from repsim_energy.registry.dataset_paths import with_kind
from repsim_energy.registry.model_names import label_and_spec
from repsim_energy.specs import parse_chain, parse_spec

__all__ = [
    "Command",
    "DEVICE",
    "QUIET",
    "RETRY_FAILED",
    "refuse_inputs",
    "scheduler_options",
    "training_options",
    "with_options",
]

Command = Callable[..., Any]

SCHEDULER = (
    click.option(
        "--scheduler",
        metavar="local[:N]|tcp://HOST:PORT",
        help="Where to train: local[:N] worker processes, or a Dask cluster (tcp://HOST:PORT). "
        "[default: local, one process per usable core]",
    ),
    click.option(
        "--jobs",
        "-j",
        type=click.IntRange(min=1),
        help="Number of worker processes (= --scheduler local:N), one thread each. With 1, train "
        "in the main process using all threads.",
    ),
)
"""Options that decide where networks are trained. Results do not depend on them."""


DEVICE = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda",
    shell_complete=alternatives,
    help="Device to compute on.",
)
RETRY_FAILED = click.option(
    "--retry-failed", is_flag=True, help="Train again what failed in an earlier call."
)
QUIET = click.option("--quiet", "-q", is_flag=True, help="Do not show progress on stderr.")


def training_options(command: Command) -> Command:
    """Add the options of commands that train networks."""
    options = [
        click.option(
            "--models",
            required=True,
            type=LIST,
            metavar="[LABEL=]SPEC|FILE,...",
            shell_complete=models_or_files,
            help="Models to compare or train, see repsim models; or files of weights.",
        ),
        click.option(
            "--dataset",
            default="deadleaves",
            show_default=True,
            type=LIST,
            metavar="SPEC[+VARIANT],...",
            shell_complete=datasets_or_paths,
            help="Data sets, see repsim datasets and repsim variants; or paths of images.",
        ),
        click.option(
            "--seeds",
            default="2",
            show_default=True,
            type=SEEDS,
            metavar="N|A-B|A,B,...",
            help="Seeds: a count (3), a range (0-4) or a list (0,3,7).",
        ),
        click.option(
            "--recipe",
            default="quick",
            show_default=True,
            metavar="SPEC",
            help="Training recipe: quick, paper or cifar, with changes such as quick:epochs=20.",
        ),
        DEVICE,
        *SCHEDULER,
        RETRY_FAILED,
        QUIET,
    ]
    return with_options(options, command)


def scheduler_options(command: Command) -> Command:
    """Add the options that decide where networks are trained."""
    return with_options(SCHEDULER, command)


def with_options(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    """Add options in their order."""
    for option in reversed(options):
        command = option(command)
    return command


def refuse_inputs(output: Path, models: Sequence[str], datasets: Sequence[str]) -> None:
    """Refuse an output file that the command also reads, such as an image of the data set.

    Parameters
    ----------
    models, datasets : specs. A value in them that is the path of a file or folder is read
    """
    if str(output) == "-":
        raise UsageError(
            "got output '-', expected a file such as result.nc; --json prints the result as text"
        )
    if not os.path.exists(output):
        return
    _refuse_streams(output)
    specs = [parse_spec(label_and_spec(model, _no_name)[1]) for model in models]
    specs += [part for chain in datasets for part in parse_chain(with_kind(chain, _no_name))]
    written = output.resolve()
    places = (written,) if written.suffix == ".nc" else (written, *written.parents)
    for value in {value for spec in specs for value in spec.options.values()}:
        with contextlib.suppress(OSError, ValueError):  # not the path of a file
            source = path_of(value)
            if os.path.exists(source) and any(place.samefile(source) for place in places):
                raise UsageError(
                    f"output '{output}' is read by this command as '{value}', expected another "
                    "file; nothing is changed"
                )


def _refuse_streams(output: Path) -> None:
    """Refuse the file that standard output or error is redirected to: lines would be lost."""
    for stream, number in (("output", 1), ("error", 2)):
        with contextlib.suppress(OSError):  # a closed stream
            if os.path.isfile(output) and os.path.samestat(output.stat(), os.fstat(number)):
                raise UsageError(
                    f"output '{output}' is where standard {stream} goes, expected another file"
                )


def _no_name(_: str) -> bool:
    return False
