"""Choice of the device for training, and of its fastest precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from repsim_energy.errors import UsageError
from repsim_energy.training.recipe import Recipe

__all__ = ["choose_device", "choose_precision"]

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")
"""Capabilities of processors that multiply bfloat16 in hardware. The last is ARM's."""


def choose_device(name: str | torch.device = "auto") -> torch.device:
    """Return the device of a name. ``auto`` chooses a GPU if torch can use one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UsageError(
            f"device '{name}' cannot be used here, expected auto, cpu or cuda"
        ) from error
    return device


def choose_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """Return the recipe with ``precision=auto`` replaced by the fastest one on the device."""
    if recipe.precision != "auto":
        return recipe
    return replace(recipe, precision="bfloat16" if _multiplies_bfloat16(device) else "float32")


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16. In software it takes twice as long."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    ask = getattr(torch.cpu, "get_capabilities", dict)  # not in older torch: float32 then
    units: Mapping[str, object] = ask()
    return any(units.get(unit) is True for unit in BFLOAT16_UNITS)
