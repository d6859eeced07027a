"""Data sets that are given by the path of their images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from repsim_energy.errors import UsageError
from repsim_energy.options import path_of
from repsim_energy.specs import write_spec

__all__ = ["kind_of", "with_kind"]

_END = re.compile(r":(?=[A-Za-z_]\w*=)|\+")
"""Beginning of an option or of a variant, which may follow a name or path."""


def kind_of(path: Path) -> str | None:
    """Return the data set that reads a path: ``folder``, ``idx`` or ``npz``, None for no images."""
    if os.path.isdir(path):
        return "idx" if any(path.glob("*-idx3-ubyte*")) else "folder"
    return "npz" if path.suffix.lower() == ".npz" and os.path.isfile(path) else None


def with_kind(text: str, is_name: Callable[[str], bool]) -> str:
    """Return the spec of a chain whose first part may be the path of a folder or ``.npz`` file.

    A folder with files in the format of MNIST means ``idx:path=``, any other one ``folder:path=``.

    Parameters
    ----------
    text : name or path, with options and variants
    is_name : whether a text is the name of a data set; a name takes precedence over a path

    Raises
    ------
    UsageError
        For a path that does not exist, and for files of other types.

    Examples
    --------
    >>> with_kind("cifar10:limit=50", lambda name: name == "cifar10")
    'cifar10:limit=50'
    """
    text = text.strip()
    ends = [match.start() for match in _END.finditer(text)]
    heads = [text[:end] for end in (*ends, len(text))]
    if is_name(heads[0]):
        return text
    for head in reversed(heads):  # the longest existing path
        path = path_of(head)
        kind = kind_of(path) if head else None
        if kind is not None:
            return write_spec(kind, path=path) + text[len(head) :]
        if os.path.isfile(path):
            raise UsageError(
                f"'{head}' is a file, expected a folder of pictures or an .npz file of arrays, or "
                "a spec NAME[:key=value]...; see repsim datasets"
            )
    if re.search(r"[/\\]|\.npz$|^[.~]", heads[0]):
        raise UsageError(
            f"no images at '{heads[0]}', expected a folder of pictures, an .npz file of arrays, or "
            "a spec NAME[:key=value]...; see repsim datasets"
        )
    return text
