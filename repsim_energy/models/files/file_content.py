"""What a file of weights holds, and how far it says itself which layer gets the image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from repsim_energy.errors import UsageError

__all__ = ["Content", "Layout", "Reached", "first_of", "missing_package"]


class Layout(NamedTuple):
    """How a convolution applies its filters."""

    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    def checked(self, outputs: int) -> Layout:
        """Return this layout; refuse one that a layer of so many outputs cannot have."""
        if self.groups < 1 or outputs % self.groups or min(self.dilation) < 1:
            raise ValueError(f"{outputs} filters cannot have {self}")
        return self


class Reached(NamedTuple):
    """A layer or operation that the image comes to, and what it is."""

    name: str
    kind: str


def missing_package(path: Path, kind: str, package: str, extra: str) -> UsageError:
    """Return the error for a kind of file whose package is not installed."""
    return UsageError(
        f"'{path}' is {kind}, and {package} is not installed; pip install 'repsim-energy[{extra}]'"
    )


@dataclass(frozen=True)
class Content:
    """What was read from a file.

    Parameters
    ----------
    value : as it stands in the file: names to tensors, or containers of such
    ordered : whether the order is that of the network; safetensors files are alphabetical
    metadata : texts beside the tensors of a safetensors file
    digests : name -> SHA-256 of every file that was read
    graph : what a file is that says how its layers are connected, such as ``a Keras file``; of
        such, filters alone are read
    layouts : name of a tensor -> how it is applied, where it is not a plain convolution
    first : the tensor that the graph says is the first layer
    unclear : why the graph does not say it
    note : what the graph does to the image before, which is not in the filters
    """

    value: Any
    ordered: bool
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    graph: str = ""
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    first: str = ""
    unclear: str = ""
    note: str = ""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file; of several, that of the lines that ``sha256sum`` prints."""
        if len(self.digests) == 1:
            return next(iter(self.digests.values()))
        lines = "".join(f"{self.digests[name]}  {name}\n" for name in sorted(self.digests))
        return hashlib.sha256(os.fsencode(lines)).hexdigest()


def first_of(
    layers: Sequence[Reached], others: Sequence[Reached], filters: Collection[str]
) -> tuple[str, str]:
    """Return the one layer that gets the image, or why there is none that is known.

    Parameters
    ----------
    layers : what has weights and gets the image
    others : operations without weights that get it, behind which it is another
    filters : names of layers whose filters are known

    Examples
    --------
    >>> first_of([Reached("conv1", "Conv")], [], ["conv1", "conv2"])
    ('conv1', '')
    >>> first_of([], [Reached("fold", "Reshape")], ["conv1"])
    ('', "the image goes into 'fold' (Reshape) before any layer gets it")
    """
    shown = ", ".join(f"'{name}' ({kind})" for name, kind in dict.fromkeys(layers or others))
    if len(set(layers)) > 1:
        return "", f"several layers get the image: {shown}"
    if layers:
        name = layers[0].name
        return (name, "") if name in filters else ("", f"the image goes into {shown}")
    if others:
        return "", f"the image goes into {shown} before any layer gets it"
    return "", "no layer gets an image"
