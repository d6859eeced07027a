"""ImageNet for repsim-energy: ``imagenet:root=DIR``, and streams directly from the files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from repsim_energy import hookimpl

if TYPE_CHECKING:
    from repsim_imagenet.images import batches, chunks, imagenet

__all__ = ["batches", "chunks", "imagenet", "repsim_datasets"]


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Return the data set: name -> ``module:function``, imported on first use."""
    return {"imagenet": "repsim_imagenet.images:imagenet"}


def __getattr__(name: str) -> Any:
    """Import the functions on first use, so that listing names is fast."""
    if name not in ("batches", "chunks", "imagenet"):
        raise AttributeError(f"module 'repsim_imagenet' has no attribute '{name}'")
    return getattr(importlib.import_module("repsim_imagenet.images"), name)
