"""The weights of one network in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from repsim_energy.models.files.containers import choose_weights
from repsim_energy.models.files.file_content import Content
from repsim_energy.models.files.parametrizations import Effective, effective_weights
from repsim_energy.models.files.reader import read_file

__all__ = ["Weights", "load_weights"]


@dataclass(frozen=True)
class Weights:
    """The named tensors of one network.

    Parameters
    ----------
    path : the file
    tensors : as they stand in the file, parts of parametrizations included
    ordered : whether their order is that of the network
    first_layer : the tensor that the file itself says is the first layer, or nothing
    content : what was read, as far as the file says more
    epsilon : that of its batch norms, where the file itself says it
    """

    path: Path
    tensors: dict[str, Tensor]
    ordered: bool
    first_layer: str | None = None
    content: Content = Content({}, False)
    epsilon: float | None = None

    @cached_property
    def effective(self) -> Effective:
        """The tensors as the network applies them: masked, normed."""
        return effective_weights(self.tensors)


def load_weights(path: str | Path, chosen: str | None = None) -> Weights:
    """Return the weights of a network from a file.

    Parameters
    ----------
    path : a ``.safetensors`` file, a PyTorch checkpoint, or the index of one in several files
    chosen : the container to take where the file holds several, such as ``model_ema``

    Raises
    ------
    UsageError
        Where there is no such file or container, or several containers and none is chosen.
    FileError
        For a file that is truncated, of another kind, or holds more than tensors.
    """
    path = Path(path)
    content = read_file(path)
    tensors = choose_weights(content.value, chosen, str(path))
    names = list(tensors)
    ordered = content.ordered and names != sorted(names)
    said = content.first or content.metadata.get("first_layer")
    first = next((name for name in (said, f"{said}.weight") if name in tensors), None)
    return Weights(path, tensors, ordered, first, content, _epsilon(content.metadata))


def _epsilon(metadata: Mapping[str, str]) -> float | None:
    """Return the text ``bn_eps`` of a safetensors file as a number above 0."""
    with contextlib.suppress(ValueError):
        number = float(metadata.get("bn_eps", ""))
        return number if 0 < number < 1 else None
    return None
