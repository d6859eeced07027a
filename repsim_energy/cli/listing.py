"""``repsim models``, ``datasets``, ``metrics`` and ``variants``."""

from __future__ import annotations

import rich_click as click

from repsim_energy.cli.app import registry_of
from repsim_energy.cli.completion import names_of
from repsim_energy.cli.tables import print_rows
from repsim_energy.options import Option
from repsim_energy.registry import Kind, describe

__all__ = ["datasets", "metrics", "models", "variants"]

NO_MEANING = "(not described)"
"""Description of an option that the docstring does not describe."""


def _list_command(kind: Kind, example: str) -> click.Command:
    @click.command(
        name=f"{kind}s",
        help=f"List all {kind}s, those that match a pattern, or the options of one {kind}.\n\n"
        f"Examples: repsim {kind}s; repsim {kind}s {example}",
    )
    @click.argument("name", default="*", shell_complete=names_of(kind))
    @click.pass_context
    def command(ctx: click.Context, name: str) -> None:
        registry = registry_of(ctx)
        if "*" in name or "?" in name:
            rows = [
                [n, registry.entry(kind, n).plugin.distribution] for n in registry.names(kind, name)
            ]
            print_rows([kind, "from"], rows)
            return
        summary, options = describe(registry, kind, name)
        click.echo(f"{name}: {summary}")
        if options:
            rows = [[o.name, o.type, _default(o), o.meaning or NO_MEANING] for o in options]
            print_rows(["option", "type", "default", "meaning"], rows)

    result: click.Command = command
    return result


def _default(option: Option) -> str:
    return "required" if option.required else option.default or "''"


models = _list_command("model", "vgg11")
datasets = _list_command("dataset", "npz")
metrics = _list_command("metric", "cka")
variants = _list_command("variant", "random_labels")
