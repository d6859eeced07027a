"""The command group ``repsim``, with its handling of errors, warnings and interruptions."""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib
import io
import os
import re
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import rich_click as click
from click.core import ParameterSource
from click.exceptions import Exit

from repsim_energy.cli.completion import register_shells
from repsim_energy.cli.first_screen import FIRST_SCREEN
from repsim_energy.cli.usage_errors import usage_line
from repsim_energy.errors import PluginWarning, RepsimError, RepsimWarning
from repsim_energy.registry import Registry, left_threads, load_registry
from repsim_energy.versions import OWN, version_of

__all__ = ["main", "registry_of", "repsim", "say"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of output that is redirected to a file on a full disk."""

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
    _show_warnings_in_one_line()
    _write_every_character()
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
        _mute(sys.stdout)
        code = 0
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        _mute(sys.stdout)
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


REPLACEMENTS = {"±": "+-", "–": "-", "…": "...", "≤": "<=", "≥": ">=", "·": "*"}
"""Character -> text for output whose encoding lacks the character. Others become escapes."""


def say(text: str) -> None:
    """Print a line on stderr. On a full disk the line is lost and the command continues."""
    try:
        click.echo(text, err=True)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        _mute(sys.stderr)


def _mute(stream: TextIO) -> None:
    """Discard all further output of a stream, including buffered output."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _write_every_character() -> None:
    """Replace characters that the output cannot encode, such as of file names, by escapes."""
    codecs.register_error("repsim_plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="repsim_plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (REPLACEMENTS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in text)
    return "".join(escaped), error.end


def _show_warnings_in_one_line() -> None:
    if not sys.warnoptions:  # options of Python itself take precedence
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", RepsimWarning)
    shown = warnings.showwarning
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, RepsimWarning):
            line = " ".join(str(message).split())
            text = in_options(line, click.get_current_context(silent=True))
            if text not in said:  # Python distinguishes warnings by their place in the code
                said.add(text)
                say(f"warning: {text}")
        else:
            shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def in_options(text: str, ctx: click.Context | None) -> str:
    """Return a message of the library with parameters as options: ``layers=a`` as ``--layer a``.

    Of a flag, ``=True`` is left out. The options are those of the command that runs; parts of a
    spec (``name:key=value``) and quoted text stay as they are.
    """
    root = ctx.find_root() if ctx is not None else None
    if root is None or not isinstance(root.command, click.Group):
        return text
    command = root.command.get_command(root, root.invoked_subcommand or "")
    options = _options_of(command)
    if not options:
        return text
    pattern = rf"(?<![\w:.=+'\"/\\-])({'|'.join(options)})=(?:True\b)?(?=([\w-])?)"
    return re.sub(pattern, lambda m: options[m[1]] + (" " if m[2] else ""), text)


def _options_of(command: click.Command | None) -> dict[str, str]:
    """Return parameter -> option of a command and of its subcommands."""
    if command is None:
        return {}
    options = {
        str(option.name): max(option.opts, key=len)
        for option in command.params
        if isinstance(option, click.Option)
    }
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            options |= _options_of(subcommand)
    return options


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
