"""Lines on stderr: errors, warnings and notes, in the words of the command line."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import re
import sys
import warnings
from typing import TextIO

import rich_click as click

from repsim_energy.errors import RepsimWarning

__all__ = [
    "DISK_FULL",
    "in_options",
    "mute",
    "say",
    "show_warnings_in_one_line",
    "write_every_character",
]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of output that is redirected to a file on a full disk."""

REPLACEMENTS = {"±": "+-", "–": "-", "…": "...", "≤": "<=", "≥": ">=", "·": "*"}
"""Character -> text for output whose encoding lacks the character. Others become escapes."""


def say(text: str) -> None:
    """Print a line on stderr. On a full disk the line is lost and the command continues."""
    try:
        click.echo(text, err=True)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        mute(sys.stderr)


def mute(stream: TextIO) -> None:
    """Discard all further output of a stream, including buffered output."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_every_character() -> None:
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


def show_warnings_in_one_line() -> None:
    """Print warnings of this package as one line each, and each line once."""
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
