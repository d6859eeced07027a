"""Outcome of a comparison before it becomes a result: variables, coordinates and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.which_weights import weight_coords
from repsim_energy.results import Variable

__all__ = [
    "NETWORK_DIMS",
    "Coords",
    "Measured",
    "Variables",
    "dataset_coord",
    "model_coord",
    "network_coords",
    "paired",
]

NETWORK_DIMS = ("dataset", "model", "seed")
"""Dimensions of a value per network."""

Variables = dict[str, Variable]
Coords = dict[str, Sequence[Any] | Variable]


@dataclass(frozen=True, eq=False)
class Measured:
    """The variables, coordinates and attributes of a result, and a line for each failure."""

    variables: Variables
    coords: Coords
    attributes: Mapping[str, str]
    failures: tuple[str, ...] = ()


def dataset_coord(values: Iterable[Any], long_name: str, units: str = "") -> Variable:
    """Return a fact of each data set as a coordinate."""
    return Variable(("dataset",), list(values), long_name, units)


def model_coord(
    plan: Plan, facts: Iterable[tuple[int, str]], long_name: str, default: str = ""
) -> Variable:
    """Return a fact of each model as a coordinate.

    Parameters
    ----------
    facts : (index of the model, text); several different texts of one model are joined by commas
    default : text of models without a fact
    """
    texts: dict[int, dict[str, None]] = {}
    for model, text in facts:
        texts.setdefault(model, {})[text] = None
    values = [", ".join(texts.get(m, [default])) for m in range(len(plan.models))]
    return Variable(("model",), values, long_name, "")


def paired(dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dimensions of a value per pair: ``dims`` of both networks."""
    return (*dims, *(f"{dim}_ref" for dim in dims))


def network_coords(plan: Plan, networks: Mapping[Key, Network]) -> Coords:
    """Return the labels of data sets, models and seeds, and which images and weights they mean."""
    labels: Coords = {
        "dataset": [data.label for data in plan.datasets],
        "model": [spec.label for spec in plan.models],
        "seed": plan.seeds,
    }
    refs = {f"{dim}_ref": values for dim, values in labels.items()}
    orders = ((m, trained.channels) for (_, m), trained in plan.trained.items())
    facts: Coords = {
        "dataset_fingerprint": dataset_coord(
            (data.train.fingerprint for data in plan.datasets),
            "SHA-256 of the training images and labels",
        ),
        "channels": model_coord(
            plan, orders, "order in which the model takes color channels", default="rgb"
        ),
    }
    return {**labels, **refs, **facts, **weight_coords(plan, networks)}
