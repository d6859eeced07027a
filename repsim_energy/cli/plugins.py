"""``repsim plugins``."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict

import rich_click as click

from repsim_energy.cli.app import registry_of
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import PluginWarning

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins with their origin, version and status; broken ones with the reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the list says it
        found = registry_of(ctx, strict=False).plugins
    if as_json:
        click.echo(json.dumps([{**asdict(p), "status": p.status} for p in found], indent=1))
        return
    rows = [
        [
            p.name,
            p.distribution,
            p.version,
            p.status,
            "; ".join(p.problems) or ", ".join(f"{len(v)} {k}s" for k, v in p.provides.items()),
        ]
        for p in found
    ]
    print_rows(["plugin", "distribution", "version", "status", "provides, or problem"], rows)
