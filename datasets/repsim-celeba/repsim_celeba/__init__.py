"""CelebA for repsim-energy: ``celeba:root=DIR:attribute=Smiling``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repsim_energy import hookimpl

if TYPE_CHECKING:
    from repsim_celeba.images import celeba

__all__ = ["celeba", "repsim_datasets"]


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Offer the data set, not imported yet."""
    return {"celeba": "repsim_celeba.images:celeba"}


def __getattr__(name: str) -> Any:
    """Import what reads images when it is first asked for: listing names takes no time."""
    if name != "celeba":
        raise AttributeError(f"module 'repsim_celeba' has no attribute '{name}'")
    from repsim_celeba.images import celeba

    return celeba
