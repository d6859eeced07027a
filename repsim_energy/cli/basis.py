"""``repsim basis``."""

from __future__ import annotations

import math
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.options import QUIET
from repsim_energy.cli.parameters import PATCH
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.tables import print_rows
from repsim_energy.registry import load_dataset

if TYPE_CHECKING:
    import pandas as pd

    from repsim_energy.interfaces import PatchBasis

__all__ = ["basis"]

COLUMNS = {
    "component": ("component", "{:.0f}"),
    "eigenvalue": ("eigenvalue", "{:.4g}"),
    "variance_share": ("variance", "{:.3g}%"),
    "frequency": ("cycles/pixel", "{:.3f}"),
    "orientation": ("orientation", "{:.0f}"),
    "coherence": ("coherence", "{:.2f}"),
    "chromatic_share": ("chromatic", "{:.2f}"),
    "symmetry": ("symmetry", "{:+.2f}"),
}
"""Column of the CSV -> its title and format in the printed table."""


@click.command()
@click.argument("dataset")
@click.option(
    "--patch",
    default="3x3",
    show_default=True,
    type=PATCH,
    metavar="HEIGHTxWIDTH",
    help="Size of the patches in pixels.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated numbers, unrounded.")
@QUIET
@click.pass_context
def basis(
    ctx: click.Context, dataset: str, patch: tuple[int, int], as_csv: bool, quiet: bool
) -> None:
    """Describe the principal components of the patches of a data set.

    Of each component: the variance of the patches along it and its share of the whole variance,
    mean spatial frequency, orientation in degrees (90 is vertical) with its coherence from 0 to 1,
    share of energy that is not gray, and symmetry (1 even, -1 odd).

    Example: repsim basis cifar10 --patch 3x3
    """
    with reporter_on_stderr(quiet), redirect_stdout(sys.stderr):  # plugins may print
        images = load_dataset(registry_of(ctx), dataset).train
        found = lazy.comparison.basis_of_images(images, (*patch, 1, 1))
    frame = _described(found)
    if as_csv:
        click.echo(frame.to_csv(index=False, lineterminator="\n"), nl=False)
        return
    shown, (c, kh, kw) = COLUMNS.items(), found.patch
    title = f"{len(frame)} components of {found.count} patches {kh}x{kw}x{c} of {dataset}"
    rounded = frame.assign(
        variance_share=100 * frame.variance_share, orientation=frame.orientation.round() % 180
    )
    rows = [
        ["-" if math.isnan(row[name]) else form.format(row[name]) for name, (_, form) in shown]
        for row in rounded.to_dict("records")
    ]
    print_rows([header for _, (header, _) in shown], rows, title, numbers=True)


def _described(found: PatchBasis) -> pd.DataFrame:
    """Return a row for each component of a basis."""
    import pandas as pd

    components = found.components.reshape(1, -1, *found.patch).numpy()
    variance = found.eigenvalues.numpy()
    described = lazy.results.component_coords(components)
    return pd.DataFrame(
        {
            "component": range(len(variance)),
            "eigenvalue": variance,
            "variance_share": variance / variance.sum(),
            **{name: coordinate.values[0] for name, coordinate in described.items()},
        }
    )
