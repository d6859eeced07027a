"""``repsim doctor``."""

from __future__ import annotations

import faulthandler
import json

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of

__all__ = ["doctor"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Compare what this machine computes with known answers, for a bug report.

    Also says versions, processor, settings and plugins. Nothing is sent anywhere. Exit code 1 says
    that a number is wrong here.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable()  # should a kernel end the process, stderr says which
    found = lazy.doctor.examine(
        registry_of(ctx, strict=False, warn=False), show=None if as_json else click.echo
    )
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    return 0 if found.passed else 1
