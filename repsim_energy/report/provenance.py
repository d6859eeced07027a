"""Provenance of a result: data, networks, versions, recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import xarray as xr

from repsim_energy.options import as_typed

__all__ = ["FactTable", "Facts", "facts_of"]

WHOLE = {
    "metric": "metric",
    "direction": "kind of number",
    "stage": "compared stage",
    "centered": "mean patch removed before the components were taken",
    "self_check": "self-check of the machine's arithmetic",
    "created": "created (UTC)",
    "schema_version": "version of the result schema",
}
"""Attribute of a result -> its description."""


class FactTable(NamedTuple):
    """Facts of data sets or networks.

    Parameters
    ----------
    kind : of the rows
    columns : descriptions of the facts
    rows : name of a data set or network, and its facts
    """

    kind: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Facts(NamedTuple):
    """Provenance of a result.

    Parameters
    ----------
    whole : facts of the whole result
    tables : of data sets and of networks
    versions : of Python and the distributions that took part
    recipe : how networks were trained; empty if none was
    configuration : models, seeds, recipe, device and metric, as JSON
    """

    whole: Sequence[tuple[str, str]]
    tables: Sequence[FactTable]
    versions: Sequence[tuple[str, str]]
    recipe: Sequence[tuple[str, str]]
    configuration: str


def facts_of(result: xr.Dataset) -> Facts:
    """Return the provenance of a result."""
    configuration = _json(result, "configuration")
    whole = [
        (text, str(result.attrs[name])) for name, text in WHOLE.items() if name in result.attrs
    ]
    if "device" in configuration:
        whole.append(("device", str(configuration["device"])))
    trained = bool((result.steps > 0).any()) if "steps" in result else False
    recipe = configuration.get("recipe") if trained else None
    return Facts(
        whole=whole,
        tables=[
            table
            for dim, kind in (("dataset", "data set"), ("model", "network"))
            if dim in result.dims and (table := _fact_table(result, dim, kind)).columns
        ],
        versions=list(_json(result, "versions").items()),
        recipe=[(k, "none" if v is None else as_typed(v)) for k, v in (recipe or {}).items()],
        configuration=json.dumps(configuration, indent=1) if configuration else "",
    )


def _json(result: xr.Dataset, attribute: str) -> dict[str, Any]:
    value = json.loads(result.attrs.get(attribute, "{}"))
    return value if isinstance(value, dict) else {}


def _fact_table(result: xr.Dataset, dim: str, kind: str) -> FactTable:
    """Return the coordinates of one dimension, without those that are empty throughout."""
    columns, facts = [], []
    for name, coordinate in result.coords.items():
        if coordinate.dims in ((dim,), ("dataset", dim)) and name != dim:
            texts = [_fact(coordinate.isel({dim: i})) for i in range(result.sizes[dim])]
            if any(texts):
                columns.append(str(coordinate.attrs.get("long_name", name)))
                facts.append(texts)
    rows = [
        [str(label), *row]
        for label, row in zip(result[dim].values, zip(*facts, strict=True), strict=bool(facts))
    ]
    return FactTable(kind, columns, rows)


def _fact(values: xr.DataArray) -> str:
    """Return a fact as text, with the names of data sets if it differs between them."""
    if not values.dims:
        value = values.item()
        return "" if value != value else str(value)
    texts = [str(value) for value in values.values]
    if len(set(texts)) == 1:
        return texts[0]
    labels = values[values.dims[0]].values
    return ", ".join(f"{label}: {text}" for label, text in zip(labels, texts, strict=True) if text)
