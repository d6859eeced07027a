"""``repsim plugin new`` and ``repsim plugin check``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import rich_click as click

from repsim_energy.cli.app import registry_of
from repsim_energy.registry.plugins import Kind

__all__ = ["plugin"]


@click.group()
def plugin() -> None:
    """Write a new plugin, or check an installed one."""


@plugin.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(get_args(Kind)), required=True, help="What it offers.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="The folder to make its own in.  [default: here]",
)
def new(name: str, kind: str, into: Path) -> None:
    """Write a complete distribution with one thing in it, to be changed into yours.

    Example: repsim plugin new my-plugin --kind model
    """
    from repsim_energy.scaffold import write_plugin

    for path in write_plugin(name, kind, into):
        click.echo(path)
    click.echo(f"now: pip install -e {into / name} && repsim plugin check {name}")


@plugin.command()
@click.argument("name")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="NAME:key=value",
    help="Try this in place of a bare name, such as imagenet:root=DIR; can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def check(ctx: click.Context, name: str, specs: tuple[str, ...], as_json: bool) -> int:
    """Hold all that an installed plugin offers to the rules of its kind.

    NAME is its distribution. Exit code 1 says that a rule is broken.
    """
    from repsim_energy.testing.distribution import check_plugin

    reports = []
    for report in check_plugin(registry_of(ctx, strict=False), name, specs):
        reports.append(report)
        if as_json:
            continue
        held = len(report.findings) - len(report.broken)
        thing = f"{report.hook} '{report.spec}' of {report.distribution}"
        click.echo(f"{thing}: {held} of {len(report.findings)} rules hold")
        for finding in report.broken:
            click.echo(f"broken: {thing}: {finding.rule}: {finding.problem}")
        if report.advice:
            click.echo(f"advice: {report.advice}")
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=1))
    elif not reports:
        click.echo(f"{name} offers nothing")
    return 1 if any(report.broken for report in reports) else 0
