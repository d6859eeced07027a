"""Models as users write them: ``[LABEL=]NAME[:key=value]...``, or a file of weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from repsim_energy.errors import UsageError
from repsim_energy.models.files.file_names import has_known_ending, missing_file
from repsim_energy.options import path_of
from repsim_energy.specs import parse_spec, split_options, write_spec

__all__ = ["label_and_spec"]

_LABEL = re.compile(r"([^=:]*)=(.*)", re.DOTALL)
_PLACE = re.compile(r"[./~\\]|[A-Za-z]:[/\\]")
"""Beginning of a path."""


def label_and_spec(text: str, is_model: Callable[[str], bool]) -> tuple[str | None, str]:
    """Return the label before the first equals sign, if any, and the spec of a model.

    A file of weights means ``checkpoint:path=FILE``; options may follow it.

    Parameters
    ----------
    text : label, name or path, and options
    is_model : whether a text is the name of a model; a name takes precedence over a path

    Raises
    ------
    UsageError
        For a missing file, and an empty or ambiguous label.

    Examples
    --------
    >>> label_and_spec("mine=vgg11:width=0.5", lambda name: name == "vgg11")
    ('mine', 'vgg11:width=0.5')
    >>> label_and_spec("vgg11:width=0.5", lambda name: name == "vgg11")
    (None, 'vgg11:width=0.5')
    """
    text = text.strip()
    named = _LABEL.fullmatch(text)
    if named is None:
        return None, _spec(text, is_model)
    label, rest = named[1].strip(), named[2].strip()
    if _file_of(text) is not None:
        if label and _file_of(rest) is not None:
            raise UsageError(
                f"'{text}' could mean that file, or '{rest}' called '{label}', expected one of "
                f"them; write {write_spec('checkpoint', path='...')}"
            )
        return None, _spec(text, is_model)
    if not label:
        raise UsageError(f"got no name before = in '{text}', expected LABEL=NAME[:key=value]...")
    return label, _spec(rest, is_model)


def _spec(text: str, is_model: Callable[[str], bool]) -> str:
    """Return the spec of a name, or of a file of weights."""
    head, *options = split_options(text)
    if is_model(head):
        return text
    path = _file_of(text)
    if path is None and not (has_known_ending(head) or _PLACE.match(head)):
        return text
    if path is None:
        raise missing_file(path_of(head))
    tail = text.removeprefix(path)
    parse_spec(f"checkpoint{tail}")
    return write_spec("checkpoint", path=Path(path)) + tail


def _file_of(text: str) -> str | None:
    """Return the path of an existing file or folder at the beginning of a text, or ``None``."""
    head = split_options(text)[0]
    for path in dict.fromkeys((text, head)):
        with suppress(OSError):  # a text that is too long for a name
            if (has_known_ending(path) or _PLACE.match(path)) and path_of(path).exists():
                return path
    return None
