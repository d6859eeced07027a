"""What a comparison has measured, before it becomes a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.profiles import Variables
from repsim_energy.comparison.which_weights import weight_coords

__all__ = ["Measured", "by_model", "network_coords", "paired"]


@dataclass(frozen=True, eq=False)
class Measured:
    """The variables, coordinates and attributes of a result, and what failed on the way."""

    variables: Variables
    coords: Mapping[str, Any]
    attributes: Mapping[str, str]
    failures: tuple[str, ...] = ()


def by_model(plan: Plan, found: Iterable[tuple[int, str]], default: str = "") -> str:
    """Return the first text that was found for each model, joined by commas."""
    texts = dict(reversed([*found]))
    return ",".join(texts.get(m, default) for m in range(len(plan.models)))


def paired(dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return dimensions and those of the other network of a pair."""
    return (*dims, *(f"{dim}_ref" for dim in dims))


def network_coords(plan: Plan, networks: Mapping[Key, Network]) -> dict[str, Any]:
    """Return the labels of data sets, models and seeds, and which weights were compared."""
    labels: dict[str, Any] = {
        "dataset": [data.label for data in plan.datasets],
        "model": [spec.label for spec in plan.models],
        "seed": plan.seeds,
    }
    refs = {f"{dim}_ref": values for dim, values in labels.items()}
    return {**labels, **refs, **weight_coords(plan, networks)}
