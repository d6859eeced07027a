"""``repsim doctor``."""

from __future__ import annotations

import faulthandler
import json

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Check the numbers that this machine computes, for a bug report.

    The report also lists versions, processor, settings and plugins. Nothing is sent anywhere. The
    exit code is 1 if a number is wrong on this machine.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable()  # if a kernel ends the process, stderr names it
    report = lazy.doctor.examine(
        registry_of(ctx, strict=False, warn=False), show=None if as_json else click.echo
    )
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=1))
    return 0 if report.passed else 1
