"""``repsim sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rich_click as click

from repsim_energy.cli.compare import compute_and_show
from repsim_energy.cli.comparison_options import comparison_options, output_options
from repsim_energy.cli.completion import options_to_vary
from repsim_energy.errors import UsageError

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
    "of all data sets or one of their variants (dataset.limit=1000,5000, dataset.alpha=0,1), of "
    "the recipe (recipe.lr=0.01,0.1), of the metric, or of the comparison (comparison.stage, "
    ".patch, .null, .align, .images, .pool, .tokens). A value with a comma is in quotes.",
)
@comparison_options
@output_options
@click.pass_context
def sweep(ctx: click.Context, /, vary: Sequence[str], **options: Any) -> int:
    """Compare networks for every combination of values of some options, as one result.

    Example: repsim sweep --models vgg11 --vary model.filters=16,32 --vary recipe.lr=0.01,0.1 -o
    sweep.nc
    """
    return compute_and_show(ctx, "sweep", vary=_values(vary), **options)


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
