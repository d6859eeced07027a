"""The call of ``rs.compare`` that makes a result again, as Python code."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

from repsim_energy.training.recipe import Recipe

__all__ = ["python_call"]

NO_NUMBERS = frozenset({"jobs", "scheduler", "reporter", "progress"})
"""Arguments that change no number of a result."""

BY_NAME = inspect.Parameter.KEYWORD_ONLY

MAX_LINE = 88
"""Characters of a call from which each argument has a line."""


def python_call(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Return code that calls a public function with the arguments that differ from its defaults.

    Objects that code cannot write, such as a network in memory, are named ``own_1``, ``own_2``
    and so on, with a comment that says what they are.

    Parameters
    ----------
    given : name -> value of its arguments; others in it are ignored

    Examples
    --------
    >>> def compare(models, dataset="deadleaves", *, seeds=2): ...
    >>> print(python_call(compare, {"models": ["vgg11", object()], "seeds": 3}))
    import repsim_energy as rs
    <BLANKLINE>
    # own_1: object in models[1], which the result does not contain
    result = rs.compare(["vgg11", own_1], seeds=3)
    """
    code = _Code()
    arguments = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in given or name in NO_NUMBERS or given[name] is parameter.default:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            further = given[name].items()
            arguments += [f"{key}={code.write(value, key)}" for key, value in further]
            continue
        text = code.write(given[name], name)
        if text == _Code().write(parameter.default, name):
            continue
        leading = parameter.default is parameter.empty and parameter.kind is not BY_NAME
        arguments.append(text if leading else f"{name}={text}")
    call = f"result = rs.{function.__name__}({', '.join(arguments)})"
    if len(call) > MAX_LINE:
        lines = "".join(f"    {argument},\n" for argument in arguments)
        call = f"result = rs.{function.__name__}(\n{lines})"
    return "\n".join(["import repsim_energy as rs", *code.imports, "", *code.comments, call])


class _Code:
    """Python expressions of values, with comments on objects that have none."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.comments: list[str] = []
        self._names: dict[int, str] = {}

    def write(self, value: Any, place: str) -> str:
        """Return an expression.

        Parameters
        ----------
        place : of the value in the call, such as ``models['a']``
        """
        if value is None or isinstance(value, bool | bytes):
            return repr(value)
        if isinstance(value, str):
            return _quoted(value)
        if isinstance(value, PurePath):  # not the same as its text, which would be a spec
            self.imports.add("from pathlib import Path")
            return f"Path({_quoted(str(value))})"
        if isinstance(value, Integral):
            return repr(int(value))
        if isinstance(value, Real):
            return repr(float(value))
        if type(value) is range:
            return repr(value)
        if isinstance(value, Recipe):
            return self._recipe(value)
        if isinstance(value, Mapping):
            pairs = (
                f"{self.write(key, place)}: {self.write(one, f'{place}[{key!r}]')}"
                for key, one in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
        if type(value) in (list, tuple):
            parts = [self.write(one, f"{place}[{i}]") for i, one in enumerate(value)]
            if type(value) is list:
                return f"[{', '.join(parts)}]"
            return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
        return self._own(value, place)

    def _recipe(self, recipe: Recipe) -> str:
        """Return the constructor with the fields that differ from their defaults."""
        fields = [
            f"{field.name}={self.write(value, field.name)}"
            for field in dataclasses.fields(recipe)
            if (value := getattr(recipe, field.name)) != field.default
        ]
        return f"rs.Recipe({', '.join(fields)})"

    def _own(self, value: Any, place: str) -> str:
        """Return the name of an object that has no expression, one for each object."""
        if id(value) not in self._names:
            name = f"own_{len(self._names) + 1}"
            self._names[id(value)] = name
            shape = getattr(value, "shape", None)
            size = f" of shape {tuple(shape)}" if isinstance(shape, tuple) else ""
            self.comments.append(
                f"# {name}: {type(value).__name__}{size} in {place}, which the result does not "
                "contain"
            )
        return self._names[id(value)]


def _quoted(text: str) -> str:
    """Return a string literal, in double quotes where nothing needs an escape."""
    literal = repr(str(text))
    if '"' not in text and "'" not in text and "\\" not in literal:
        return f'"{literal[1:-1]}"'
    return literal
