"""Content of a file of weights, as the readers of all formats return it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from repsim_energy.errors import UsageError

__all__ = ["Content", "Layout", "missing_package"]


class Layout(NamedTuple):
    """Groups and dilation of a convolution."""

    groups: int = 1
    dilation: tuple[int, int] = (1, 1)

    def checked(self, filters: int) -> Layout:
        """Return this layout.

        Raises
        ------
        ValueError
            If a convolution with so many filters cannot have it.
        """
        if self.groups < 1 or filters % self.groups or min(self.dilation) < 1:
            raise ValueError(f"{filters} filters cannot have {self}")
        return self


def missing_package(path: Path, kind: str, package: str, extra: str) -> UsageError:
    """Return the error for a file of a format whose package is not installed."""
    return UsageError(
        f"'{path}' is {kind}, and {package} is not installed; pip install 'repsim-energy[{extra}]'"
    )


@dataclass(frozen=True)
class Content:
    """Content of a file of weights.

    ONNX and Keras files store a graph, the connections of the layers, which may show the first
    layer. Only the filters of their convolutions are read.

    Parameters
    ----------
    value : the tensors by name, or containers of such
    ordered : whether the tensors are in the order of the network's layers; those of safetensors
        files are in alphabetical order
    metadata : texts of a safetensors file
    digests : name -> SHA-256 of every file that was read
    graph_format : the format of a file with a graph, such as ``a Keras file``, else empty
    layouts : name of a tensor -> layout of its convolution, if it is not a plain one
    first_layer : the tensor that is the first layer according to the graph
    problem : why the graph does not show the first layer
    preprocessing : how the graph scales the image before the first layer; the filters do not
        include that
    """

    value: Any
    ordered: bool
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    graph_format: str = ""
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    first_layer: str = ""
    problem: str = ""
    preprocessing: str = ""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, or of the output of ``sha256sum`` for several files."""
        if len(self.digests) == 1:
            return next(iter(self.digests.values()))
        lines = "".join(f"{self.digests[name]}  {name}\n" for name in sorted(self.digests))
        return hashlib.sha256(os.fsencode(lines)).hexdigest()
