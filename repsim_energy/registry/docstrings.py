"""Descriptions of options, read from the section ``Parameters`` of docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

__all__ = ["meanings_of", "summary_of"]

_HEADING = re.compile(r"^(\S.*)\n(-{3,}|={3,})\s*$", re.MULTILINE)
_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)(?:\s+:(?:\s+(?P<rest>.*))?)?\s*")
_ROLE = re.compile(r":[\w:]+:`~?(?:[\w.]*\.)?([^`]*)`")
_LATER = re.compile(r",?\s*\b(?:optional|default|shape)\b|\s=\s")
"""End of a type in numpydoc's form ``name : type, optional``."""

_NAMES_OF_TYPES = """
any array array_like array-like bool boolean bytes callable complex dict file float floats function
int integer integers ints iterable list literal mapping none ndarray np number numpy object of or
path path-like pathlib sequence set str string strings tensor torch tuple typing union
"""
TYPES = frozenset(_NAMES_OF_TYPES.split())
"""Words of a type in numpydoc's form ``name : type``."""


def meanings_of(thing: Any) -> dict[str, str]:
    """Return option -> description in one line, for the options that are described.

    An entry is ``name : type`` with the description below (numpydoc), or ``name : description``.

    Parameters
    ----------
    thing : function, class or callable object. For a class, the docstrings of the class and of
        ``__init__`` are read

    Examples
    --------
    >>> def network(num_classes, in_channels, *, width=8):
    ...     '''Return a network.
    ...
    ...     Parameters
    ...     ----------
    ...     width : int, default 8
    ...         The channels of ``conv1``.
    ...     '''
    >>> meanings_of(network)
    {'width': 'The channels of conv1.'}
    """
    found: dict[str, str] = {}
    for text in _docstrings(thing):
        for names, meaning in _entries(_section(text)):
            if meaning:
                found |= {name.strip().lstrip("*"): meaning for name in names.split(",")}
    return found


def summary_of(thing: Any) -> str:
    """Return the first line of a docstring."""
    return next((_plain(text.partition("\n")[0]) for text in _docstrings(thing) if text), "")


def _docstrings(thing: Any) -> list[str]:
    while isinstance(thing, partial):
        thing = thing.func
    if inspect.isclass(thing):
        # The options may be those of a base class, which then describes them.
        owner = next(base for base in thing.__mro__ if "__init__" in vars(base))
        sources: list[Any] = [thing]
        if owner is not object:
            sources += [owner] * (owner is not thing) + [vars(owner)["__init__"]]
    elif inspect.isroutine(thing):
        sources = [thing]
    else:  # an object
        sources = [type(thing).__call__] if callable(thing) else [type(thing)]
    return [inspect.getdoc(source) or "" for source in sources]


def _section(text: str) -> str:
    """Return the text below the headings ``Parameters`` and ``Other Parameters``."""
    headings = [*_HEADING.finditer(text)]
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    return "\n".join(
        text[heading.end() : end]
        for heading, end in zip(headings, ends, strict=bool(headings))
        if heading[1].strip() in ("Parameters", "Other Parameters")
    )


def _entries(section: str) -> Iterator[tuple[str, str]]:
    """Yield the names and the description of each entry."""
    names, rest, body = "", "", [""]
    for line in [*section.splitlines(), "."]:  # the last ends the last entry
        if not line.strip() or line[0].isspace():
            body.append(line.strip())
            continue
        if names:
            below = " ".join(" ".join(body).split())
            yield names, _plain(below if _is_type(rest) else f"{rest} {below}".strip())
        entry = _ENTRY.fullmatch(line)  # other text at the margin, such as a source, ends the last
        names, rest, body = (entry["names"], entry["rest"] or "", []) if entry else ("", "", [])


def _is_type(text: str) -> bool:
    """Return whether the text after a name is a type instead of a description."""
    kind = _LATER.split(text)[0].strip()
    if not kind:
        return text.strip() in ("", "optional")
    words = re.split(r"[\s,|.()\[\]`~:]+", kind.lower())
    return kind.startswith(("{", "Literal[")) or all(word in TYPES for word in words if word)


def _plain(text: str) -> str:
    """Return a text without the markup of reStructuredText."""
    return _ROLE.sub(r"\1", text).replace("``", "").replace("\\ ", "")
