"""Weights of one network in a file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from repsim_energy.errors import first_few, warn
from repsim_energy.models.files.containers import choose_weights
from repsim_energy.models.files.file_content import Content
from repsim_energy.models.files.parametrizations import Effective, effective_weights
from repsim_energy.models.files.reader import read_file

__all__ = ["Weights", "load_weights"]

MAX_NAMED = 3
"""Maximum number of tensors that a warning names."""


@dataclass(frozen=True)
class Weights:
    """Named tensors of one network.

    Parameters
    ----------
    path : of the file
    tensors : as in the file, including the parts of parametrizations
    ordered : whether they are in the order of the network's layers
    first_layer : the tensor of the first layer, if the file names it
    content : of the file
    epsilon : of the batch norms, if the file states it
    """

    path: Path
    tensors: dict[str, Tensor]
    ordered: bool
    first_layer: str | None = None
    content: Content = Content({}, False)
    epsilon: float | None = None

    @cached_property
    def effective(self) -> Effective:
        """The tensors as the network applies them: masked, with weight norm and spectral norm."""
        return effective_weights(self.tensors)


def load_weights(path: str | Path, container: str | None = None, sha256: str = "") -> Weights:
    """Return the weights of a network from a file.

    Parameters
    ----------
    path : a ``.safetensors`` file, a PyTorch checkpoint, the index of one in several files, or an
        ONNX or Keras file
    container : the container to use if the file has several, such as ``model_ema``
    sha256 : first digits of the SHA-256 of the file; empty to accept any content

    Raises
    ------
    UsageError
        If the file or the container is missing, or there are several containers and none is named.
    FileError
        If the file is truncated, damaged, of another format, has another SHA-256, or holds other
        objects than tensors.

    Warns
    -----
    RepsimWarning
        If weights are NaN or infinite.
    """
    path = Path(path)
    content = read_file(path, sha256)
    tensors = choose_weights(content.value, container, str(path))
    _warn_of_infinite(path, tensors)
    names = list(tensors)
    ordered = content.ordered and names != sorted(names)
    named = content.first_layer or content.metadata.get("first_layer")
    first = next((name for name in (named, f"{named}.weight") if name in tensors), None)
    return Weights(path, tensors, ordered, first, content, _epsilon(content.metadata))


def _warn_of_infinite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Name tensors with numbers that no network has, except masks, which may be infinite."""
    names = [n for n, tensor in tensors.items() if "mask" not in n and not _is_finite(tensor)]
    if names:
        warn(
            f"'{path}' has NaN or infinite numbers in {first_few(names, MAX_NAMED)}, by damage or "
            "a training that failed; save the weights again if it was damaged"
        )


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers are finite, true if torch cannot tell, as for sparse tensors."""
    try:
        return bool(tensor.isfinite().all())
    except (NotImplementedError, RuntimeError):
        return True


def _epsilon(metadata: Mapping[str, str]) -> float | None:
    """Return the number ``bn_eps`` of safetensors metadata, ``None`` if it is not in (0, 1)."""
    with contextlib.suppress(ValueError):
        number = float(metadata.get("bn_eps", ""))
        return number if 0 < number < 1 else None
    return None
