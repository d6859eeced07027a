"""Every timm model as ``timm/NAME`` in repsim-energy."""

from __future__ import annotations

from repsim_energy import hookimpl

__all__ = ["repsim_models"]


@hookimpl
def repsim_models() -> dict[str, str]:
    """Offer the family ``timm/*``. timm is imported when a member is used."""
    return {"timm/*": "repsim_timm.family:family"}
