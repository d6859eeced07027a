"""CelebA for repsim-energy: ``celeba:root=DIR:attribute=Smiling``."""

from __future__ import annotations

from repsim_energy import hookimpl

__all__ = ["repsim_datasets"]


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Offer the data set, not imported yet."""
    return {"celeba": "repsim_celeba.images:celeba"}
