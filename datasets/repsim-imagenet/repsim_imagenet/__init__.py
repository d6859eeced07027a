"""ImageNet for repsim-energy: ``imagenet:root=DIR``, and all of it straight from the files."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from repsim_energy import hookimpl

if TYPE_CHECKING:
    from repsim_imagenet.images import batches, chunks, imagenet

__all__ = ["batches", "chunks", "imagenet", "repsim_datasets"]


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Offer the data set, not imported yet."""
    return {"imagenet": "repsim_imagenet.images:imagenet"}


def __getattr__(name: str) -> Any:
    """Import what reads images when it is first asked for: listing names takes no time."""
    if name not in ("batches", "chunks", "imagenet"):
        raise AttributeError(f"module 'repsim_imagenet' has no attribute '{name}'")
    return getattr(importlib.import_module("repsim_imagenet.images"), name)
