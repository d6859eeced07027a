"""Options that several commands have, and how their text is read."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from repsim_energy.errors import UsageError
from repsim_energy.options import path_of
from repsim_energy.registry.dataset_paths import with_kind
from repsim_energy.registry.model_names import label_and_spec
from repsim_energy.specs import MOST_SEEDS, parse_chain, parse_spec, split_list

__all__ = [
    "parse_numbers",
    "parse_seeds",
    "parse_words",
    "refuse_inputs",
    "scheduler_options",
    "training_options",
]

Command = Callable[..., Any]

SCHEDULER = (
    click.option(
        "--scheduler",
        metavar="local[:N]|tcp://HOST:PORT",
        help="Who trains: N processes of this machine, or the Dask cluster there. "
        "[default: local, one process per usable core]",
    ),
    click.option(
        "--jobs",
        "-j",
        type=click.IntRange(min=1),
        help="As local:N. One thread a process; 1 trains in this process with all threads.",
    ),
)
"""Options that decide where runs are trained, and never what comes out."""


def training_options(command: Command) -> Command:
    """Add the options that decide a training."""
    options = [
        click.option(
            "--models",
            required=True,
            metavar="[LABEL=]SPEC|FILE,...",
            help="See: repsim models. A file of weights is one too.",
        ),
        click.option(
            "--dataset",
            default="deadleaves",
            show_default=True,
            metavar="SPEC[+VARIANT],...",
            help="See: repsim datasets and repsim variants.",
        ),
        click.option(
            "--seeds",
            default="2",
            show_default=True,
            metavar="N|A-B|A,B,...",
            help="How many, a range, or which.",
        ),
        click.option(
            "--recipe",
            default="quick",
            show_default=True,
            metavar="SPEC",
            help="quick or paper, with changes: quick:epochs=20:batch=64:lr=0.05.",
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        *SCHEDULER,
        click.option("--quiet", "-q", is_flag=True, help="No progress on stderr."),
    ]
    return _with(options, command)


def scheduler_options(command: Command) -> Command:
    """Add the options that decide where runs are trained."""
    return _with(SCHEDULER, command)


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def refuse_inputs(output: Path, models: Sequence[str], datasets: Sequence[str]) -> None:
    """Refuse to write over a file that is read, such as a picture in a folder that is read.

    Parameters
    ----------
    models, datasets : specs; a value in them that is the name of a file or folder is one that is
        read
    """
    if str(output) == "-":
        raise UsageError(
            "got output '-', expected a file such as result.nc; --json prints the result as text"
        )
    if not output.exists():
        return
    _refuse_streams(output)
    specs = [parse_spec(label_and_spec(model, _no_name)[1]) for model in models]
    specs += [part for chain in datasets for part in parse_chain(with_kind(chain, _no_name))]
    written = output.resolve()
    places = (written,) if written.suffix == ".nc" else (written, *written.parents)
    for value in {value for spec in specs for value in spec.options.values()}:
        with contextlib.suppress(OSError, ValueError):  # no name of a file
            source = path_of(value)
            if source.exists() and any(place.samefile(source) for place in places):
                raise UsageError(
                    f"output '{output}' is read by this command as '{value}', expected another "
                    "file; nothing is changed"
                )


def _refuse_streams(output: Path) -> None:
    """Refuse the file into which standard output or error is led: its lines would be lost."""
    for stream, number in (("output", 1), ("error", 2)):
        with contextlib.suppress(OSError):  # a closed stream
            if output.is_file() and os.path.samestat(output.stat(), os.fstat(number)):
                raise UsageError(
                    f"output '{output}' is where standard {stream} goes, expected another file"
                )


def _no_name(_: str) -> bool:
    return False


def parse_seeds(text: str) -> int | list[int]:
    """Return a number of seeds, or the seeds themselves.

    Examples
    --------
    >>> parse_seeds("3"), parse_seeds("2-4"), parse_seeds("0,7")
    (3, [2, 3, 4], [0, 7])
    """
    if re.fullmatch(r"\d{1,20}", text):
        if int(text) > MOST_SEEDS:
            raise UsageError(
                f"got {text} seeds, expected at most {MOST_SEEDS}; the one seed {text} is written "
                f"--seeds {text}-{text}"
            )
        if int(text) > 0:
            return int(text)
    elif numbers := parse_numbers(text, "seeds"):
        return numbers
    raise UsageError(
        f"got seeds '{text[:40]}', expected a number above 0, a range 0-4 or a list 0,3,7"
    )


def parse_words(option: str, text: str | None) -> dict[str, Any]:
    """Return an option of ``compare``: one word for all models, or a word for each that is named.

    Parameters
    ----------
    option : its name
    text : as typed; ``None`` where it was not, which leaves it out

    Examples
    --------
    >>> parse_words("fold", "bn"), parse_words("fold", "a=bn,vgg11:width=0.5=bn")
    ({'fold': 'bn'}, {'fold': {'a': 'bn', 'vgg11:width=0.5': 'bn'}})
    """
    if text is None:
        return {}
    parts = [part.rpartition("=") for part in split_list(text)]
    words = {label: word for label, equals, word in parts if equals}
    if not words and len(parts) == 1:
        return {option: text}
    if len(words) < len(parts) or not all(words) or not all(words.values()):
        raise UsageError(
            f"got --{option} {text}, expected one word for all models, or MODEL=WORD,..., each "
            "model once"
        )
    return {option: words}


def parse_numbers(text: str, what: str) -> list[int]:
    """Return the numbers of a range or a list; nothing where the text is neither.

    Raises
    ------
    UsageError
        For more of them than seeds may be asked for; the list is not made.

    Examples
    --------
    >>> parse_numbers("2-4", "seeds"), parse_numbers("0,7", "seeds"), parse_numbers("4-2", "seeds")
    ([2, 3, 4], [0, 7], [])
    """
    if match := re.fullmatch(r"(\d{1,20})-(\d{1,20})", text):
        first, last = int(match[1]), int(match[2])
        _check_count(last - first + 1, text, what)
        return list(range(first, last + 1))
    if re.fullmatch(r"\d{1,20}(,\d{1,20})*", text):
        _check_count(text.count(",") + 1, text, what)
        return [int(part) for part in text.split(",")]
    return []


def _check_count(count: int, text: str, what: str) -> None:
    if count > MOST_SEEDS:
        raise UsageError(
            f"got {count} {what} '{text[:40]}', expected at most {MOST_SEEDS}; take fewer at a time"
        )
