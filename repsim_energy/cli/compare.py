"""``repsim compare``."""

from __future__ import annotations

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

import repsim_energy as rs
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.comparison_options import comparison_options, output_options
from repsim_energy.cli.messages import in_options, say
from repsim_energy.cli.options import refuse_inputs
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.result_text import print_result
from repsim_energy.cli.tables import print_json
from repsim_energy.errors import RepsimError, visible
from repsim_energy.files.storage import check_writable

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare", "compute_and_show", "report_failures"]


@click.command()
@comparison_options
@output_options
@click.pass_context
def compare(ctx: click.Context, /, **options: Any) -> int:
    """Compare what networks represent. Architectures that are not in the cache are trained.

    Example: repsim compare --metric energy --models vgg11,resnet18 -o result.nc
    """
    return compute_and_show(ctx, "compare", **options)


def compute_and_show(
    ctx: click.Context,
    function: str,
    /,
    *,
    models: list[str],
    dataset: list[str],
    output: Path | None,
    as_json: bool,
    quiet: bool,
    scheduler: str | None,
    **options: Any,
) -> int:
    """Compute a result, write and print it, and return the exit code.

    Parameters
    ----------
    function : name of a function of the package, which is imported where progress is shown
    models, dataset, output, as_json, quiet, scheduler, options : of the command
    """
    if output is not None:
        refuse_inputs(output, models, dataset)
        check_writable(output)
    with reporter_on_stderr(quiet) as reporter, redirect_stdout(sys.stderr):  # networks may print
        result = getattr(rs, function)(
            models,
            dataset,
            reporter=reporter,
            registry=registry_of(ctx),
            scheduler=scheduler or "local",
            **options,
        )
    result.attrs["command"] = visible(shlex.join(sys.argv))
    return _write_and_print(ctx, result, output, as_json)


def _write_and_print(
    ctx: click.Context, result: xr.Dataset, output: Path | None, as_json: bool
) -> int:
    """Write and print a result, and return the exit code.

    A result that cannot be written, for example on a full disk, is printed before the error.
    """
    error = None
    try:
        if output is not None:
            rs.save_result(result, output)
    except RepsimError as raised:
        error = raised
    if as_json:
        print_json(result)
    else:
        print_result(result)
    code = report_failures(ctx, result.attrs["failures"].splitlines())
    if error is not None:
        raise error
    return code


def report_failures(ctx: click.Context, failures: list[str]) -> int:
    """Print the failures and return the exit code: 3 if there are any."""
    for failure in failures:
        say(in_options(f"failed: {failure}", ctx))
    return 3 if failures else 0
