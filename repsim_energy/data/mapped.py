"""Images mapped from a file. They are read when needed and passed to other processes by path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["map_images", "unchanged_file"]

BLOCK_IMAGES = 1024

_files = WeakIdKeyDictionary()
"""Tensor -> the file that it was mapped from."""


def map_images(path: Path) -> Tensor:
    """Map the array of a ``.npy`` file. Writing to the tensor never changes the file.

    Raises
    ------
    OSError, ValueError
        If the file is missing or truncated.
    """
    images = _mapped(path)
    _files[images] = path
    return images


def unchanged_file(tensor: Tensor) -> Path | None:
    """Return the file that a tensor was mapped from, if both still have the same content."""
    path: Path | None = _files.get(tensor)
    if path is None:
        return None
    try:
        stored = _mapped(path)
    except (OSError, ValueError):
        return None
    if stored.shape != tensor.shape or stored.dtype != tensor.dtype:
        return None
    blocks = zip(stored.split(BLOCK_IMAGES), tensor.split(BLOCK_IMAGES), strict=True)
    return path if all(torch.equal(a, b) for a, b in blocks) else None


def _mapped(path: Path) -> Tensor:
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
