"""Names of files of weights: their endings, and names that resemble a missing one."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from repsim_energy.errors import UsageError

__all__ = ["has_known_ending", "missing_file", "without_ending"]

ENDING = re.compile(
    r"(\.(safetensors|pt|pth|th|ckpt|bin|onnx|h5|hdf5|keras)|\.index\.json)(\.gz)?\Z",
    re.IGNORECASE,
)
"""Endings of files of weights."""


def has_known_ending(name: str) -> bool:
    """Return whether a name has the ending of a file of weights.

    Examples
    --------
    >>> has_known_ending("runs/best.pt"), has_known_ending("vgg11"), has_known_ending(".pt")
    (True, False, False)
    """
    return without_ending(os.path.basename(name)) not in ("", os.path.basename(name))


def without_ending(name: str) -> str:
    """Return the name of a file of weights without its endings.

    Examples
    --------
    >>> without_ending("resnet-0.95.pth"), without_ending("w.pt.gz"), without_ending("epoch0.95")
    ('resnet-0.95', 'w', 'epoch0.95')
    >>> without_ending("model.safetensors.index.json")
    'model'
    """
    while (match := ENDING.search(name)) and match.start():
        name = name[: match.start()]
    return name


def missing_file(path: Path) -> UsageError:
    """Return the error for a missing file of weights, with a similar name in its folder.

    Examples
    --------
    >>> print(missing_file(Path("nowhere.pt")))
    no checkpoint at 'nowhere.pt', expected a file of weights such as .safetensors or .pt
    """
    try:
        names = [name for name in os.listdir(path.parent) if has_known_ending(name)]
    except OSError:
        names = []
    close = difflib.get_close_matches(path.name, sorted(names), n=1)
    hint = f"; did you mean '{path.parent / close[0]}'?" if close else ""
    return UsageError(
        f"no checkpoint at '{path}', expected a file of weights such as .safetensors or .pt{hint}"
    )
