"""Errors of wrong usage that click finds, in one line."""

from __future__ import annotations

import click

__all__ = ["usage_line"]


def usage_line(error: click.ClickException) -> str:
    """Return the message of an error of click in one line, with a remedy.

    Examples
    --------
    >>> usage_line(click.UsageError("No such command 'compares'."))
    "No such command 'compares'"
    """
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    option = error.param if isinstance(error, click.MissingParameter) else None
    if isinstance(option, click.Option):
        help_text = (option.help or "").split(". ")[0].rstrip(".")
        message = f"got no {max(option.opts, key=len)}, expected {option.metavar}: {help_text}"
    else:
        message = " ".join(error.format_message().split()).rstrip(".")
    return message if ctx is None else f"{message}; see {ctx.command_path} --help"
