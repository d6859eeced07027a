"""Read tensors from files without ever running code that a file brings along."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from repsim_energy.errors import FileError, UsageError

__all__ = ["load_tensors"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts keep the weights beside other things."""


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the named tensors of a ``.safetensors`` file or of a PyTorch checkpoint.

    PyTorch files are read with ``weights_only=True`` and nothing else.

    Raises
    ------
    UsageError
        Where there is no such file.
    FileError
        For a file that is truncated, of another kind, or holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no checkpoint at '{path}', expected a .safetensors or .pt file")
    try:
        content = _content(path)
    except pickle.UnpicklingError as error:
        raise FileError(
            f"'{path}' holds more than tensors, or is damaged, and is not opened; "
            "save state_dict() alone, best as .safetensors"
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(
            f"'{path}' cannot be read as a checkpoint ({reason}); expected an intact "
            ".safetensors file or a PyTorch state_dict"
        ) from error
    return _tensors(content, path)


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of pickles that are then refused
        return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if isinstance(content, Mapping):
        found = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if found:
            return {k.removeprefix("module."): v for k, v in found.items()}
    raise FileError(f"'{path}' holds no named tensors, expected a state_dict; save that")
