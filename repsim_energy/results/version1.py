"""Results of schema version 1 in the form of the present version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import xarray as xr

from repsim_energy.results.component_coords import with_component_coords
from repsim_energy.results.schema import SCHEMA_VERSION, Variable

__all__ = ["from_version_1"]


class _Fact(NamedTuple):
    """A fact that version 1 stored as one text for a dimension, its entries joined by commas."""

    name: str
    dim: str
    kind: Callable[[str], Any]
    long_name: str
    units: str = ""


FACTS = {
    "basis_id": _Fact("basis_id", "dataset", str, "identifier of the patch basis"),
    "channels": _Fact("channels", "model", str, "order in which the model takes color channels"),
    "components_without_variance": _Fact(
        "components_without_variance", "dataset", int, "components left out of all profiles", "1"
    ),
    "dataset_fingerprint": _Fact(
        "dataset_fingerprint", "dataset", str, "SHA-256 of the training images and labels"
    ),
    "first_layers": _Fact("first_layer", "model", str, "layer whose filters were read"),
    "folded": _Fact("folded", "model", str, "batch norm folded into the filters"),
    "images": _Fact("n_images", "dataset", int, "images that the networks were shown", "1"),
    "images_from": _Fact("images_from", "dataset", str, "split of the images shown"),
    "normalization": _Fact("normalization", "model", str, "normalization of the images shown"),
    "patch_products": _Fact(
        "patch_products", "dataset", str, "arithmetic of the matrix products behind the basis"
    ),
}
"""Attribute of version 1 -> the coordinate of the present version."""


def from_version_1(result: xr.Dataset) -> xr.Dataset:
    """Return a result of version 1 with its facts of single data sets and models as coordinates.

    A text that does not have one entry for each label stays an attribute: the name of a layer may
    contain a comma, and a result that was cut kept the texts of the whole.
    """
    attributes = {**result.attrs, "schema_version": SCHEMA_VERSION}
    coords = {}
    for attribute, fact in FACTS.items():
        size, text = result.sizes.get(fact.dim, 0), attributes.get(attribute)
        if entries := _entries(attribute, text, size):
            del attributes[attribute]
            values = [fact.kind(entry) for entry in entries]
            variable = Variable((fact.dim,), values, fact.long_name, fact.units)
            coords[fact.name] = variable.as_xarray()
    result = with_component_coords(result.assign_coords(coords))
    result.attrs = attributes
    return result


def _entries(attribute: str, text: str | None, size: int) -> list[str]:
    """Return the entry of each of ``size`` labels, or none where these are not known."""
    if text is None:
        return []
    if attribute == "patch_products":  # one text for all data sets
        return [text] * size if "," not in text else []
    entries = text.split(",")
    return entries if len(entries) == size else []
