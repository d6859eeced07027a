"""Lists that are given in Python as one text, as on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from repsim_energy.errors import UsageError
from repsim_energy.specs import is_there, split_list

__all__ = ["items_of", "one_by_one"]


def one_by_one(given: Any, kind: str) -> Any:
    """Split every text of several specs in a list.

    Parameters
    ----------
    given : a list of specs and other things, or a mapping from labels to them
    kind : what they are, for errors

    Raises
    ------
    UsageError
        For several specs under one label.
    """
    if isinstance(given, Mapping):
        for label, item in given.items():
            if isinstance(item, str) and len(items_of(item)) > 1:
                raise UsageError(
                    f"got several {kind}s '{item}' under the label '{label}', expected one; give "
                    "each its own label, and write a comma in a path in quotes, path='a,b'"
                )
        return given
    if not isinstance(given, Iterable) or isinstance(given, Set | str):
        return given
    items = (items_of(item) if isinstance(item, str) else [item] for item in given)
    return [part for parts in items for part in parts]


def items_of(text: str) -> list[str]:
    """Return the specs of a text, which commas separate.

    A text that is the path of a file or folder, comma and all, is one item, unless what stands
    before the comma is a path too.

    Raises
    ------
    UsageError
        If both exist, for a path in a spec that could hold the comma, and for an empty item.

    Examples
    --------
    >>> items_of("vgg11,resnet18:width=0.5"), items_of("vgg11")
    (['vgg11', 'resnet18:width=0.5'], ['vgg11'])
    """
    if "," not in text or not is_there(text):
        return split_list(text)
    if is_there(text.partition(",")[0]):
        raise UsageError(
            f"'{text}' could mean a path or a list, expected one of them; quote the path, "
            "path='...', or pass a list"
        )
    return [text]
