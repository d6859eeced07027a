"""Images mapped from a file: read where they are needed, and known to other processes by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["file_of", "map_images"]

_files = WeakIdKeyDictionary()
"""Tensor -> the file that it was mapped from."""


def map_images(path: Path) -> Tensor:
    """Return the array of a ``.npy`` file, mapped; writing to it changes a copy, never the file.

    Raises
    ------
    OSError, ValueError
        Where there is no such file, or not all of it.
    """
    images = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    _files[images] = path
    return images


def file_of(tensor: Tensor) -> Path | None:
    """Return the file that holds what a tensor holds, where it was mapped and not written to."""
    path: Path | None = _files.get(tensor)
    if path is None or tensor.is_inference():  # which does not know whether it was written to
        return None
    return path if tensor._version == 0 and path.is_file() else None
