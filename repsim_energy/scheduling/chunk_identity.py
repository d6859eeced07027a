"""Identity of a chunk of images: hashes of its code, arguments and files, and of its pixels."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePath
from stat import S_ISDIR
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.numerics.arrays import tensor_of

__all__ = ["made_of", "noted"]

MAX_PARTS = 20_000
"""Maximum number of parts of a chunk that are hashed. A KiB of an array counts as one."""

PLAIN = (type(None), bool, int, float, complex, bytes, range)


class _Unclear(Exception):
    """Raised for a part of a chunk that does not determine what the chunk returns."""


def made_of(chunk: Any) -> bytes | None:
    """Return the SHA-256 of everything that determines what a chunk returns, without reading it.

    That is the path, size and modification time of every file that it names, the code of its
    function and of the functions that this one calls (names alone for installed packages), and the
    values of its arguments and variables: text, numbers, arrays, and collections of such.

    Returns
    -------
    32 bytes, or ``None`` if it depends on anything else (objects of any class, folders, open
    files), or has too many parts

    Examples
    --------
    >>> made_of(partial(torch.zeros, 3)) == made_of(partial(torch.zeros, 3))
    True
    >>> made_of(partial(torch.zeros, 3)) == made_of(partial(torch.zeros, 4))
    False
    >>> made_of(object()) is None
    True
    """
    try:
        parts = PIL.__version__, _Description().of(chunk)
    except Exception:  # whatever a thing answers that is looked at
        return None
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def noted(batches: Iterable[Tensor], digest: hashlib._Hash) -> Iterator[Tensor]:
    """Yield batches of images, and add type, shape and values of each to a SHA-256."""
    for batch in batches:
        digest.update(_of_array(batch).encode())
        yield batch


class _Description:
    """Descriptions of objects as nested tuples of text, equal for equal objects."""

    def __init__(self) -> None:
        self._left = MAX_PARTS
        self._functions: list[FunctionType] = []

    def of(self, thing: Any) -> tuple[Any, ...]:
        self._spend(1)
        kind = type(thing)
        if kind in PLAIN:
            return kind.__name__, repr(thing)
        if isinstance(thing, PurePath) or kind is str:
            return "text", str(thing), _file(str(thing))
        if kind in (list, tuple):
            return kind.__name__, *map(self.of, thing)
        if kind is dict:
            return "dict", *((self.of(key), self.of(value)) for key, value in thing.items())
        if kind in (set, frozenset):
            return kind.__name__, *sorted(map(self.of, thing), key=repr)
        if isinstance(thing, Tensor | np.ndarray):
            self._spend(thing.nbytes // 1024)
            return "array", _of_array(thing)
        return self._code(thing)

    def _code(self, thing: Any) -> tuple[Any, ...]:
        if isinstance(thing, partial):
            return "partial", *map(self.of, (thing.func, thing.args, thing.keywords))
        if isinstance(thing, MethodType):
            return "method", self.of(thing.__func__), self.of(thing.__self__)
        if isinstance(thing, ModuleType):
            return "module", thing.__name__
        if isinstance(thing, BuiltinFunctionType | type) or _is_installed(thing):
            if not _is_installed(thing):
                raise _Unclear
            return "name", thing.__module__, thing.__qualname__
        if isinstance(thing, FunctionType):
            return self._function(thing)
        raise _Unclear

    def _function(self, function: FunctionType) -> tuple[Any, ...]:
        if function in self._functions:
            return "function", self._functions.index(function)
        self._functions.append(function)
        try:
            cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        except ValueError as error:  # a variable without a value yet
            raise _Unclear from error
        known = function.__globals__
        used = {n: known[n] for n in sorted(_names(function.__code__)) if n in known}
        given = (function.__defaults__, function.__kwdefaults__, cells, used)
        return "function", _bytes_of(function.__code__), *map(self.of, given)

    def _spend(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise _Unclear


def _file(text: str) -> tuple[str, int, int] | None:
    """Return path, size and modification time of a file, if there is one of that name."""
    try:
        state = os.stat(text)
    except (OSError, ValueError):
        return None
    if S_ISDIR(state.st_mode):  # what it holds may have changed
        raise _Unclear
    return os.path.abspath(text), state.st_size, state.st_mtime_ns


def _of_array(array: Tensor | NDArray[Any]) -> str:
    values = (tensor_of(array) if isinstance(array, np.ndarray) else array).detach().cpu()
    content = values.contiguous().flatten().view(torch.uint8).numpy().data
    return f"{values.dtype} {tuple(values.shape)} {hashlib.sha256(content).hexdigest()}"


def _is_installed(thing: Any) -> bool:
    """Return whether an object belongs to Python or an installed package, under its name."""
    name, qualified = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or name in ("__main__", "__mp_main__") or not isinstance(qualified, str):
        return False
    if "<locals>" in qualified:
        return False
    file = getattr(module, "__file__", None)
    if file is None:  # built into Python
        return True
    path = Path(file)
    return "site-packages" in path.parts or path.is_relative_to(sysconfig.get_path("stdlib"))


def _names(code: CodeType) -> set[str]:
    """Return all names that a function, and functions defined inside it, may look up."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _bytes_of(code: CodeType) -> tuple[Any, ...]:
    consts = (_bytes_of(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts)
    return code.co_name, code.co_code, code.co_names, code.co_varnames, *consts


def _constant(constant: Any) -> str:
    """Return a constant as text, with the elements of a frozen set in sorted order."""
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
