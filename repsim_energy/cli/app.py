"""The command group ``repsim``, with its handling of errors and interruptions."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rich_click as click
from click.core import ParameterSource
from click.exceptions import Exit

from repsim_energy.cli.completion import register_shells
from repsim_energy.cli.first_screen import FIRST_SCREEN
from repsim_energy.cli.messages import (
    DISK_FULL,
    in_options,
    mute,
    say,
    show_warnings_in_one_line,
    write_every_character,
)
from repsim_energy.cli.usage_errors import usage_line
from repsim_energy.errors import PluginWarning, RepsimError
from repsim_energy.registry import Registry, left_threads, load_registry
from repsim_energy.versions import OWN, version_of

__all__ = ["main", "registry_of", "repsim"]

THREAD_SECONDS = 1.0
"""Time at the end of a command for threads of plugins to end by themselves."""

COMMANDS = {
    "compare": "compare:compare",
    "sweep": "sweep:sweep",
    "show": "show:show",
    "profile": "profile:profile",
    "train": "train:train",
    "plot": "plot:plot",
    "visualize": "visualize:visualize",
    "reproduce": "reproduce:reproduce",
    "experiment": "experiment:experiment",
    "report": "report:report",
    "basis": "basis:basis",
    "models": "listing:models",
    "datasets": "listing:datasets",
    "metrics": "listing:metrics",
    "variants": "listing:variants",
    "plugins": "plugins:plugins",
    "cache": "cache:cache",
    "doctor": "doctor:doctor",
    "cite": "cite:cite",
    "completion": "completion:completion",
}
"""Command -> module and attribute; imported when the command is called."""

FORMER = {"plugin": "plugins:moved"}
"""Former names of commands, which answer with the present one."""


class _Commands(click.RichGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and let its errors name options of the command line."""
        try:
            return super().invoke(ctx)
        except RepsimError as error:
            error.args = (in_options(str(error), ctx), *error.args[1:])
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name) or FORMER.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"repsim_energy.cli.{module}"), attribute
        )
        return command


@dataclass(frozen=True)
class Plugins:
    """Selection of plugins by the options of ``repsim``.

    Parameters
    ----------
    files : single-file plugins
    installed : whether to load the plugins of installed distributions
    """

    files: tuple[str, ...]
    installed: bool


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"repsim, version {version_of(OWN)}")
        ctx.exit()


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.option(
    "--plugin",
    "files",
    multiple=True,
    type=click.Path(),
    envvar="REPSIM_PLUGINS",
    metavar="FILE.py",
    help="Load a Python file with plugin hooks, for this command; repeatable. The environment "
    f"variable REPSIM_PLUGINS lists files, separated by '{os.pathsep}'.",
)
@click.option(
    "--no-plugins",
    is_flag=True,
    envvar="REPSIM_NO_PLUGINS",
    help="Do not load installed plugins.",
)
@click.pass_context
def repsim(ctx: click.Context, files: tuple[str, ...], no_plugins: bool) -> None:
    """Compare neural networks by their first-layer filters or by their activations.

    Lists are separated by commas. A spec is a name with options, NAME[:key=value]... Variants of
    a data set follow after +, as in cifar10:classes=cat/dog+random_labels.
    """
    if ctx.invoked_subcommand is None:
        click.echo(FIRST_SCREEN)
        return
    if ctx.get_parameter_source("files") is ParameterSource.ENVIRONMENT:
        files = tuple(file for file in files if file)  # a separator at an end separates nothing
    ctx.obj = Plugins(files, not no_plugins)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    The exit code is 0 for success, 1 for a failure, 2 for wrong usage, 3 if a part of the work
    failed, 4 for a corrupt or untrusted file, and 130 for an interruption.
    """
    show_warnings_in_one_line()
    write_every_character()
    register_shells()
    try:
        code = repsim.main(args, standalone_mode=False)
        if sys.stdout is not None:  # None if it is closed
            sys.stdout.flush()
    except Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        say(f"error: {usage_line(error)}")
        code = error.exit_code
    except RepsimError as error:
        say(f"error: {' '.join(str(error).split())}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted: finished runs are kept, the same command continues from there")
        code = 130
    except (
        BrokenPipeError,
        SystemExit,
    ) as stop:  # the reader of our output, such as head, has gone
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, BrokenPipeError):
            raise  # Click and Rich end the program for it
        mute(sys.stdout)
        code = 0
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        mute(sys.stdout)
        say(f"error: the output could not be written ({error.strerror}); free some space")
        code = 1
    _end(code if isinstance(code, int) else 0)


def _end(code: int) -> None:
    """End the command, also if threads of plugins would keep the process from ending."""
    deadline = time.monotonic() + THREAD_SECONDS
    for thread in left_threads():
        thread.join(max(0.0, deadline - time.monotonic()))
    if left_threads():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def registry_of(
    ctx: click.Context,
    *files: str,
    strict: bool | None = None,
    warn: bool = True,
) -> Registry:
    """Return the registry of the plugins that the options of ``repsim`` select.

    Parameters
    ----------
    files : plugin files to load besides those of ``--plugin``
    strict : whether to refuse plugins with problems; by default ``REPSIM_STRICT_PLUGINS`` decides
    warn : whether to warn of plugins with problems; ``False`` where the output shows them
    """
    selected = ctx.find_object(Plugins)
    assert selected is not None
    with warnings.catch_warnings():
        if not warn:
            warnings.simplefilter("ignore", PluginWarning)
        return load_registry([*selected.files, *files], installed=selected.installed, strict=strict)
