"""Options of a component: the keyword arguments of its signature.

The text that a user types for them is converted and checked before anything runs.
"""

from __future__ import annotations

import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from repsim_energy.errors import UsageError, unknown_name

__all__ = [
    "Option",
    "as_typed",
    "bind_options",
    "call_builder",
    "is_fitted",
    "options_of",
    "path_of",
    "takes",
    "takes_any",
]


@dataclass(frozen=True)
class Option:
    """Description of one keyword argument of a callable.

    Parameters
    ----------
    name : of the argument
    type : in words
    default : as a user would type it; empty if the option is required
    required : whether there is no default
    meaning : from the docstring; empty if it is not described
    """

    name: str
    type: str
    default: str
    required: bool = False
    meaning: str = ""


def options_of(target: Callable[..., Any], skip: int) -> list[Option]:
    """Return the options of a callable, without its first ``skip`` parameters."""
    parameters = _parameters(target, skip)
    return [
        Option(
            p.name,
            _type_name(p.annotation),
            "" if p.default is p.empty else as_typed(p.default),
            p.default is p.empty,
        )
        for p in parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]


def takes(target: Callable[..., Any], skip: int, name: str) -> bool:
    """Return whether a parameter of this name follows the first ``skip`` parameters.

    Variants take ``train``, and architectures ``images``, if they are fitted to the training split.
    """
    try:
        return list(_parameters(target, skip))[:1] == [name]
    except ValueError:  # a callable without a signature
        return False


def takes_any(target: Callable[..., Any], skip: int) -> bool:
    """Return whether a callable accepts options that it does not name (``**options``)."""
    return any(p.kind is p.VAR_KEYWORD for p in _parameters(target, skip).values())


def is_fitted(build: Callable[..., Any]) -> bool:
    """Return whether an architecture receives the training images, as its third parameter."""
    return takes(build, 2, "images")


def call_builder(build: Callable[..., Any], num_classes: int, in_channels: int, images: Any) -> Any:
    """Return the network of an architecture, which receives the images if it is fitted to them."""
    given = (num_classes, in_channels)
    return build(*given, images) if is_fitted(build) else build(*given)


def as_typed(value: Any) -> str:
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
    what : name of the component for errors, such as ``model 'vgg11'``
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
    open_ended = takes_any(target, skip)
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
    """Return the global names of the module that defines a function, class or callable object."""
    while isinstance(target, partial):
        target = target.func
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    names: dict[str, Any] = getattr(inspect.unwrap(target), "__globals__", {})
    return names


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """Return an annotation as an object, or as text if it cannot be evaluated."""
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
    """Return the path that a user means: ``~`` or ``~user`` at its beginning is a home folder.

    An existing path whose name begins with ``~`` is that path.
    """
    path = Path(text)
    if not text.startswith("~") or os.path.exists(path):  # False for a name that is too long
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no such user, or no home
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
