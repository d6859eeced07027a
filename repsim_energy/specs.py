"""Specs of users: ``NAME[:key=value]...``, chained by ``+`` and listed by ``,``.

A quoted value, ``path='a+b,c'``, may contain separators. A quote inside it is doubled.

Options are the keyword arguments of the component with that name (:mod:`repsim_energy.options`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repsim_energy.errors import UsageError
from repsim_energy.options import as_typed, path_of

__all__ = [
    "MOST_SEEDS",
    "Spec",
    "is_there",
    "parse_chain",
    "parse_spec",
    "split_list",
    "split_options",
    "write_spec",
]

MOST_SEEDS = 10_000
"""Maximum number of seeds of a comparison."""

MAX_SEPARATORS = 8
"""Maximum number of separators in an unquoted path that is looked for."""

_OPTION = re.compile(r":(?=[A-Za-z_]\w*=)")
_NAME = re.compile(r"[A-Za-z0-9_][\w./-]*")
_QUOTED = re.compile(r"""(?<==)(?:'(?:[^']|'')*'(?!')|"(?:[^"]|"")*"(?!"))""")
_LIST, _CHAIN = re.compile(","), re.compile(r"\+")


@dataclass(frozen=True)
class Spec:
    """Name and options of a spec, as text."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


def split_list(text: str) -> list[str]:
    """Return the items of a comma-separated list.

    Examples
    --------
    >>> split_list("vgg11,resnet18:width=0.5")
    ['vgg11', 'resnet18:width=0.5']
    """
    parts = _split(_LIST, text)
    for number, part in enumerate(parts):
        _, *pairs = _split(_OPTION, part)
        if pairs:
            _check_path(text, pairs[-1], ",", parts[number + 1 :])
    items = [item.strip() for item in parts]
    if not all(items):
        raise UsageError(
            f"got an empty item in '{text}', expected NAME[:key=value]... between commas"
        )
    return items


def split_options(text: str) -> list[str]:
    """Return the name and the ``key=value`` parts of a spec.

    Examples
    --------
    >>> split_options("resnet18:width=0.5:frozen=true")
    ['resnet18', 'width=0.5', 'frozen=true']
    """
    return _split(_OPTION, text)


def parse_spec(text: str) -> Spec:
    """Return the name and options of ``NAME[:key=value]...``.

    Examples
    --------
    >>> parse_spec("resnet18:width=0.5:frozen=true")
    Spec(name='resnet18', options={'width': '0.5', 'frozen': 'true'})
    """
    name, *pairs = split_options(text.lstrip())
    for number, pair in enumerate(pairs):
        _check_path(text, pair, ":", pairs[number + 1 :])
    name, *pairs = split_options(text.strip())
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"cannot read '{text}', expected NAME[:key=value]... such as vgg11:width=0.5"
        )
    options: dict[str, str] = {}
    for pair in pairs:
        key, value = pair.split("=", 1)
        if key in options:
            raise UsageError(f"option '{key}' stands twice in '{text}', expected it once")
        options[key] = _unquoted(value, text)
    return Spec(name, options)


def parse_chain(text: str) -> list[Spec]:
    """Return the parts of ``NAME[:key=value]...[+NAME[:key=value]...]...``.

    Examples
    --------
    >>> [part.name for part in parse_chain("cifar10:classes=cat/dog+random_labels:seed=1")]
    ['cifar10', 'random_labels']
    """
    return [parse_spec(part) for part in _paths_joined(_split(_CHAIN, text))]


def write_spec(name: str, **options: Any) -> str:
    """Return the spec of a name and options, with quotes where values need them.

    Parameters
    ----------
    name : of a metric, model, data set or variant
    options : its options, of any type that a spec can express; lists are joined by ``/``

    Returns
    -------
    Text such as ``name:key=value``, which is parsed as the same name and options

    Examples
    --------
    >>> from pathlib import Path
    >>> write_spec("folder", path=Path("cats+dogs"), limit=1000, classes=("cat", "dog"))
    "folder:path='cats+dogs':limit=1000:classes=cat/dog"
    """
    return ":".join([name, *(f"{key}={_quoted(value)}" for key, value in options.items())])


def _quoted(value: Any) -> str:
    text = as_typed(value)
    if text == text.strip() and not re.search("[,+:=\"'\\s]", text):
        return text
    return _in_quotes(text)


def _in_quotes(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _unquoted(value: str, text: str) -> str:
    if value[:1] not in ("'", '"'):
        return value
    quote = value[0]
    if not _QUOTED.fullmatch(f"={value}", 1):
        raise UsageError(
            f"a value in '{text}' begins with {quote} and does not end with it, expected a quote "
            "at both ends; a quote in a value is written twice"
        )
    return value[1:-1].replace(quote * 2, quote)


def _split(separator: re.Pattern[str], text: str) -> list[str]:
    """Return the parts between separators that are not in quotes."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    parts, start = [], 0
    for match in separator.finditer(text):
        if not any(first <= match.start() < last for first, last in quoted):
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _check_path(text: str, pair: str, separator: str, following: list[str]) -> None:
    """Refuse an ambiguous path without quotes.

    The path is ambiguous if it is also the beginning of the path of another existing file, which
    contains the separator and following text, or blanks at the end.
    """
    key, _, value = pair.partition("=")
    taken = value if following and separator == ":" else value.rstrip()
    if value[:1] in ("'", '"'):
        return
    for count in range(min(len(following), MAX_SEPARATORS) + 1):
        whole = separator.join([value, *following[:count]])
        for path in (whole, whole.rstrip()):
            if path not in (taken, value.rstrip()) and _is_another(path, taken):
                what = {":": "options of ", ",": "an item after "}[separator] if count else ""
                raise _ambiguous(text, key, [path], f"{what}'{taken}'")


def _paths_joined(parts: list[str]) -> list[str]:
    """Return the parts of a chain, after joining those that together are an existing path."""
    first, *rest = parts
    head, equals, value = first.rpartition("=")
    found = []
    for count in range(min(len(rest), MAX_SEPARATORS), 0, -1) if equals else ():
        name, *options = _split(_OPTION, rest[count - 1])
        begun = [value, *rest[: count - 1]]
        wholes = {"+".join([*begun, rest[count - 1]]): "", "+".join([*begun, name]): ""}
        if options:
            wholes["+".join([*begun, name])] = ":".join(["", *options])
        there = [whole for whole in wholes if _is_another(whole, value)]
        found += [
            (whole, [f"{head}={_in_quotes(whole)}{wholes[whole]}", *rest[count:]])
            for whole in there
        ]
    if found and (len(found) > 1 or is_there(value)):
        paths = [whole for whole, _ in found]
        last = f"variants of '{value}'" if is_there(value) else f"'{paths.pop()}'"
        raise _ambiguous("+".join(parts), head.rpartition(":")[2], paths, last)
    return found[0][1] if found else parts


def _ambiguous(text: str, key: str, paths: list[str], last: str) -> UsageError:
    """Return the error for a spec that could mean each of several paths."""
    could = " or ".join([*(f"'{path}'" for path in paths), last])
    return UsageError(
        f"'{text}' could mean {could}, expected one of them; quote the path, {key}='...'"
    )


def is_there(path: str) -> bool:
    """Return whether a text is the path of an existing file or folder."""
    return os.path.exists(path_of(path))


def _is_another(path: str, taken: str) -> bool:
    """Return whether a path exists and is not the same file as another path."""
    if not is_there(path):
        return False
    return not is_there(taken) or not path_of(path).samefile(path_of(taken))
