"""``repsim sweep``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.compare import write_and_print
from repsim_energy.cli.comparison_options import comparison_options, output_options
from repsim_energy.cli.completion import options_to_vary
from repsim_energy.cli.options import refuse_inputs
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.errors import UsageError, visible
from repsim_energy.storage import check_writable

__all__ = ["sweep"]


@click.command()
@click.option(
    "--vary",
    "vary",
    multiple=True,
    required=True,
    metavar="PART.OPTION=VALUE,...",
    shell_complete=options_to_vary,
    help="Option to vary and its values, repeatable: an option of all models (model.width=0.5,1), "
    "of all data sets (dataset.limit=1000,5000), of the recipe (recipe.lr=0.01,0.1) or of the "
    "metric. A value with a comma is in quotes.",
)
@comparison_options
@output_options
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    vary: Sequence[str],
    models: list[str],
    dataset: list[str],
    output: Path | None,
    as_json: bool,
    quiet: bool,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Compare networks for every combination of values of some options, as one result.

    Example: repsim sweep --models vgg11 --vary model.filters=16,32 --vary recipe.lr=0.01,0.1 -o
    sweep.nc
    """
    if output is not None:
        refuse_inputs(output, models, dataset)
        check_writable(output)
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # networks may print
        result = rs.sweep(
            models,
            dataset,
            vary=_values(vary),
            reporter=reporter,
            registry=registry_of(ctx),
            scheduler=scheduler or "local",
            **options,
        )
    result.attrs["command"] = visible(shlex.join(sys.argv))
    return write_and_print(ctx, result, output, as_json)


def _values(vary: Sequence[str]) -> dict[str, str]:
    """Return option -> its values as one text."""
    found: dict[str, str] = {}
    for text in vary:
        name, equals, values = text.partition("=")
        if not equals:
            raise UsageError(f"got --vary '{text}', expected PART.OPTION=VALUE,...")
        if name in found:
            raise UsageError(f"got --vary {name} twice, expected once, with all its values")
        found[name] = values
    return found
