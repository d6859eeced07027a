"""``repsim plugins``, with ``list``, ``new`` and ``check``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import rich_click as click

from repsim_energy.cli import lazy
from repsim_energy.cli.app import registry_of
from repsim_energy.cli.messages import in_options
from repsim_energy.cli.tables import print_rows
from repsim_energy.errors import UsageError
from repsim_energy.registry import Kind, Registry
from repsim_energy.scaffold import write_plugin

if TYPE_CHECKING:
    from repsim_energy.testing.distribution import Report

__all__ = ["moved", "plugins"]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins, create a new one, or check one against the rules.

    Without a subcommand: list the installed plugins.
    """
    if ctx.invoked_subcommand is None:
        _print_plugins(ctx, as_json)
    elif as_json:
        name = ctx.invoked_subcommand
        raise UsageError(f"got --json before {name}; write repsim plugins {name} ... --json")


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def list_plugins(ctx: click.Context, as_json: bool) -> None:
    """List plugins with distribution, version, status, and problems or what they changed."""
    _print_plugins(ctx, as_json)


def _print_plugins(ctx: click.Context, as_json: bool) -> None:
    plugins = registry_of(ctx, strict=False, warn=False).plugins
    if as_json:
        click.echo(json.dumps([p.as_dict() for p in plugins], indent=1))
        return
    rows = [
        [
            p.name,
            p.distribution,
            p.origin.short_version,
            p.status,
            "; ".join([*p.problems, *p.notes])
            or ", ".join(_count(kind, names) for kind, names in p.provides.items()),
        ]
        for p in plugins
    ]
    print_rows(["plugin", "distribution", "version", "status", "provides, or problem"], rows)


def _count(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind}{'s' if len(names) != 1 else ''}"


@plugins.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(get_args(Kind)),
    required=True,
    help="Kind of component to generate.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Parent directory of the new plugin.  [default: current directory]",
)
def new(name: str, kind: str, into: Path) -> None:
    """Create a plugin: an installable package with one working component to edit.

    Example: repsim plugins new my-plugin --kind model
    """
    for path in write_plugin(name, kind, into):
        click.echo(path)
    click.echo(f"now: pip install -e {into / name} && repsim plugins check {name}")


@plugins.command()
@click.argument("name", metavar="NAME|FILE.py")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="NAME:key=value",
    help="Check this component with these options, such as imagenet:root=DIR; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def check(ctx: click.Context, name: str, specs: tuple[str, ...], as_json: bool) -> int:
    """Run the conformance checks on a plugin.

    NAME is the name of an installed distribution, or the path of a single file. The exit code is 1
    if a rule is broken.
    """
    reports = []
    registry, name = _with_plugin(ctx, name)
    for report in _on_stderr(lazy.distribution.check_plugin(registry, name, specs)):
        reports.append(report)
        if as_json:
            continue
        passed = len(report.findings) - len(report.broken)
        thing = f"{report.hook} '{report.spec}' of {report.distribution}"
        click.echo(f"{thing}: {passed} of {len(report.findings)} rules hold")
        for finding in report.broken:
            problem = in_options(str(finding.problem), ctx)
            click.echo(f"broken: {thing}: {finding.rule}: {problem}")
        if report.advice:
            click.echo(f"advice: {report.advice}")
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=1))
    elif not reports:
        click.echo(f"{name} offers nothing")
    return 1 if any(report.broken for report in reports) else 0


def _on_stderr(reports: Iterator[Report]) -> Iterator[Report]:
    """Make reports while output of plugins goes to stderr."""
    while True:
        with redirect_stdout(sys.stderr):
            report = next(reports, None)
        if report is None:
            return
        yield report


def _with_plugin(ctx: click.Context, name: str) -> tuple[Registry, str]:
    """Return a registry that contains a plugin, and the plugin's name in it.

    A file is loaded, and its name in the registry is the last part of its path.
    """
    registry = registry_of(ctx, strict=False)
    if not name.endswith(".py"):
        return registry, name
    files = {plugin.file.path for plugin in registry.plugins if plugin.file is not None}
    loaded = {os.path.abspath(path) for path in files} | {os.path.basename(path) for path in files}
    if name not in loaded and os.path.abspath(name) not in loaded:
        registry = registry_of(ctx, name, strict=False)
    return registry, os.path.basename(name)


@click.command(
    hidden=True,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def moved(arguments: tuple[str, ...]) -> None:
    """Refuse the former spelling, ``repsim plugin``."""
    command = " ".join(word for word in arguments[:1] if word in plugins.commands)
    former = f"repsim plugin {command}".strip()
    raise UsageError(f"got '{former}', which is now '{former.replace('plugin', 'plugins', 1)}'")
