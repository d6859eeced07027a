"""What a user types: ``NAME[:key=value]...``, chained with ``+``, listed with ``,``.

A value in quotes, ``path='a+b,c'``, is taken as it is; a quote in it is written twice.

Options are the keyword arguments of the callable behind the name; their names, types and
defaults come from its signature and are checked before anything runs.
"""

from __future__ import annotations

import inspect
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from repsim_energy.errors import UsageError, unknown_name

__all__ = [
    "MOST_SEEDS",
    "Option",
    "Spec",
    "bind_options",
    "options_of",
    "parse_chain",
    "parse_spec",
    "path_of",
    "split_list",
    "split_options",
    "takes_train",
    "write_spec",
]

MOST_SEEDS = 10_000
"""How many seeds may be asked for: by their number, a range or a list, on all ways."""

MOST_JOINED = 8
"""Separators that the name of a file is looked for with."""

_OPTION = re.compile(r":(?=[A-Za-z_]\w*=)")
_NAME = re.compile(r"[A-Za-z0-9_][\w./-]*")
_QUOTED = re.compile(r"""(?<==)(?:'(?:[^']|'')*'(?!')|"(?:[^"]|"")*"(?!"))""")
_LIST, _CHAIN = re.compile(","), re.compile(r"\+")


@dataclass(frozen=True)
class Spec:
    """A name and the options given with it, still as text."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """One keyword argument of a callable, in words.

    Parameters
    ----------
    default : the value that it has where none is given
    required : whether it has no default
    meaning : what it does; empty where its docstring does not say
    """

    name: str
    type: str
    default: str
    required: bool = False
    meaning: str = ""


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
    """Return the spec of a name and options, with values of any characters.

    Examples
    --------
    >>> write_spec("folder", path=Path("cats+dogs"), limit=1000, classes=("cat", "dog"))
    "folder:path='cats+dogs':limit=1000:classes=cat/dog"
    """
    return ":".join([name, *(f"{key}={_quoted(value)}" for key, value in options.items())])


def _quoted(value: Any) -> str:
    text = _typed(value)
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
    """Return the parts between separators, of which those in quotes are none."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    parts, start = [], 0
    for match in separator.finditer(text):
        if not any(first <= match.start() < last for first, last in quoted):
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _check_path(text: str, pair: str, separator: str, following: list[str]) -> None:
    """Refuse a value without quotes that names another file with blanks, or with what follows."""
    key, _, value = pair.partition("=")
    taken = value if following and separator == ":" else value.rstrip()
    if value[:1] in ("'", '"'):
        return
    for count in range(min(len(following), MOST_JOINED) + 1):
        whole = separator.join([value, *following[:count]])
        for path in (whole, whole.rstrip()):
            if path not in (taken, value.rstrip()) and _is_another(path, taken):
                what = {":": "options of ", ",": "an item after "}[separator] if count else ""
                raise _ambiguous(text, key, [path], f"{what}'{taken}'")


def _paths_joined(parts: list[str]) -> list[str]:
    """Return the parts of a chain; those that together name the only file that is there are one."""
    first, *rest = parts
    head, equals, value = first.rpartition("=")
    found = []
    for count in range(min(len(rest), MOST_JOINED), 0, -1) if equals else ():
        name, *options = _split(_OPTION, rest[count - 1])
        begun = [value, *rest[: count - 1]]
        wholes = {"+".join([*begun, rest[count - 1]]): "", "+".join([*begun, name]): ""}
        if options:
            wholes["+".join([*begun, name])] = ":".join(["", *options])
        there = [whole for whole in wholes if _is_another(whole, value)]
        found += [(whole, [f"{head}={_in_quotes(whole)}{wholes[whole]}", *rest[count:]])
                  for whole in there]  # fmt: skip
    if found and (len(found) > 1 or _is_there(value)):
        paths = [whole for whole, _ in found]
        last = f"variants of '{value}'" if _is_there(value) else f"'{paths.pop()}'"
        raise _ambiguous("+".join(parts), head.rpartition(":")[2], paths, last)
    return found[0][1] if found else parts


def _ambiguous(text: str, key: str, paths: list[str], last: str) -> UsageError:
    """Return the error for a spec that could mean each of several paths."""
    could = " or ".join([*(f"'{path}'" for path in paths), last])
    return UsageError(
        f"'{text}' could mean {could}, expected one of them; quote the path, {key}='...'"
    )


def _is_there(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _is_another(path: str, taken: str) -> bool:
    """Return whether a path is there, and not another way to write the one that is taken."""
    if not _is_there(path):
        return False
    places = [os.path.expanduser(one) for one in (path, taken)]
    return not _is_there(taken) or not os.path.samefile(*places)


def options_of(target: Callable[..., Any], skip: int) -> list[Option]:
    """Return the options of a callable, without its first ``skip`` parameters."""
    parameters = _parameters(target, skip)
    return [
        Option(
            p.name,
            _type_name(p.annotation),
            "" if p.default is p.empty else _typed(p.default),
            p.default is p.empty,
        )
        for p in parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]


def takes_train(variant: Callable[..., Any]) -> bool:
    """Return whether a variant asks for the training split, in a second parameter ``train``."""
    return list(_parameters(variant, 1))[:1] == ["train"]


def _typed(value: Any) -> str:
    """Return a value as users type it."""
    return "/".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def bind_options(
    target: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    skip: int,
    what: str,
    converters: Mapping[Any, Callable[[str], Any]] | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of a call, converted by the signature and with its defaults.

    Parameters
    ----------
    target : the callable whose keyword arguments are the options
    options : as text from a spec, or as values from Python
    skip : how many leading parameters are not options
    what : what to call the thing in an error, such as ``model 'vgg11'``
    converters : for annotations beyond bool, int, float, str, Path, Literal and tuple[str, ...]

    Raises
    ------
    UsageError
        For keys that the callable does not know, values it cannot take, and missing ones.

    Examples
    --------
    >>> def vgg(num_classes, in_channels, *, width: float = 1.0, bn: bool = True): ...
    >>> bind_options(vgg, {"bn": "false"}, skip=2, what="model 'vgg'")
    {'width': 1.0, 'bn': False}
    """
    parameters = _parameters(target, skip)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    for key in options:
        if key not in named and not open_ended:
            raise unknown_name(f"option of {what}", key, named)
    bound = {n: p.default for n, p in named.items() if p.default is not p.empty}
    for key, value in options.items():
        if isinstance(value, str) and key in named:
            value = _convert(value, named[key], f"{what} option {key}", converters or {})
        bound[key] = value
    missing = [n for n in named if n not in bound]
    if missing:
        raise UsageError(f"{what} needs {missing[0]}=, got none; write NAME:{missing[0]}=...")
    return bound


def _parameters(target: Callable[..., Any], skip: int) -> dict[str, inspect.Parameter]:
    names = _names_around(target)
    parameters = list(inspect.signature(target).parameters.values())[skip:]
    return {
        p.name: p.replace(annotation=_evaluated(p.annotation, names))
        for p in parameters
        if p.kind is not p.VAR_POSITIONAL
    }


def _names_around(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the names of the module that a function, class or callable object is written in."""
    while isinstance(target, partial):
        target = target.func
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    names: dict[str, Any] = getattr(inspect.unwrap(target), "__globals__", {})
    return names


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Return an annotation; text that only a type checker can read stays text."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)  # noqa: S307 (the code of whoever wrote the signature)
    except Exception:
        return annotation


def _convert(
    text: str,
    parameter: inspect.Parameter,
    what: str,
    converters: Mapping[Any, Callable[[str], Any]],
) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty or isinstance(annotation, str):
        default = parameter.default
        annotation = str if default is parameter.empty or default is None else type(default)
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    choices = typing.get_args(annotation) if union else (annotation,)
    if type(None) in choices and text.lower() == "none":
        return None
    for choice in choices:
        if choice in converters:
            return converters[choice](text)
        try:
            return _convert_to(text, choice)
        except (ValueError, KeyError):
            continue
    raise UsageError(f"{what} got '{text}', expected {_type_name(annotation)}")


_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _convert_to(text: str, target: Any) -> Any:
    if target is bool:
        return _TRUTH[text.lower()]
    if target is Path:
        return path_of(text)
    if target in (int, float, str):
        return target(text)
    origin = typing.get_origin(target)
    if origin is Literal:
        return {str(value): value for value in typing.get_args(target)}[text]
    if origin in (tuple, list):
        inner = typing.get_args(target)[0]
        return origin(_convert_to(item, inner) for item in text.split("/"))
    raise ValueError(text)


def path_of(text: str) -> Path:
    """Return a path, below the home folder for ``~/...`` unless a folder is really called so."""
    path = Path(text)
    if path.parts[:1] != ("~",) or path.exists():
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no home
        return path


def _type_name(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "any"
    if typing.get_origin(annotation) is Literal:
        return " or ".join(str(value) for value in typing.get_args(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " or ".join(_type_name(a) for a in typing.get_args(annotation))
    if typing.get_origin(annotation) in (tuple, list):
        return f"{_type_name(typing.get_args(annotation)[0])}/..."
    if annotation is type(None):
        return "none"
    return str(getattr(annotation, "__name__", annotation))
