"""CelebA for repsim-energy: ``celeba:root=DIR:attribute=Smiling``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repsim_energy import hookimpl

if TYPE_CHECKING:
    from repsim_celeba.images import celeba

__all__ = ["celeba", "repsim_datasets"]


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Return the data set: name -> ``module:function``, imported on first use."""
    return {"celeba": "repsim_celeba.images:celeba"}


def __getattr__(name: str) -> Any:
    """Import the functions on first use, so that listing names is fast."""
    if name != "celeba":
        raise AttributeError(f"module 'repsim_celeba' has no attribute '{name}'")
    from repsim_celeba.images import celeba

    return celeba
