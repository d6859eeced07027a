"""Runs of the example result, which are part of this package.

``tests/results/make_example.py`` writes the file: a safetensors file whose tensors are called after
the key of the run and their name in it, with the manifests as metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

__all__ = ["SHIPPED", "shipped_keys", "shipped_run"]

SHIPPED = Path(__file__).with_name("example_runs.safetensors")


def shipped_keys(prefix: str) -> list[str]:
    """Return the keys of the runs that begin with a prefix."""
    with safe_open(SHIPPED, "pt") as file:
        return [key for key in file.metadata() if key.startswith(prefix)]


def shipped_run(key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the manifest of a run and its tensors, as the cache stores them."""
    with safe_open(SHIPPED, "pt") as file:
        names = [name for name in file.keys() if name.startswith(f"{key}/")]  # noqa: SIM118
        tensors = {name.removeprefix(f"{key}/"): file.get_tensor(name) for name in names}
        return json.loads(file.metadata()[key]), tensors
