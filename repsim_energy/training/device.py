"""Choice of the device for training, and of its fastest precision."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from repsim_energy.errors import UsageError
from repsim_energy.numerics.processor import processor_features
from repsim_energy.training.recipe import Recipe

__all__ = ["choose_device", "choose_precision", "multiplies_bfloat16"]

BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16")
"""Features of processors that multiply bfloat16 in hardware. The last is ARM's."""

LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit the instructions of oneDNN, which torch multiplies with."""

WITHOUT_BFLOAT16 = frozenset(
    ["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"]
)
"""Values of these variables that leave out products of bfloat16."""


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
    return replace(recipe, precision="bfloat16" if multiplies_bfloat16(device) else "float32")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16, and may.

    In software it takes at least twice as long as float32 (measured: 2.3 to 20 times). That is
    asked, not measured, so that a command finds its runs in the cache again.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if any(os.environ.get(limit, "").upper() in WITHOUT_BFLOAT16 for limit in LIMITS):
        return False
    features = processor_features().split()
    return any(unit in features for unit in BFLOAT16_UNITS)
