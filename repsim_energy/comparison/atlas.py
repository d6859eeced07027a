"""Atlas of first layers that is part of this package."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.models.filters.norm_folding import scale_filters
from repsim_energy.training.shipped_runs import shipped_keys, shipped_run
from repsim_energy.versions import OWN

__all__ = ["AtlasEntry", "open_atlas"]

TENSORS = re.compile(r"(?P<name>.+?)\.(?P<tensor>(?:conv1|bn1|affine)\..+)")
"""Names of tensors in the file."""

FAMILIES = {"vgg": "VGG", "resnet": "ResNet"}
"""Kind of an architecture that is trained here -> its family."""

NORMS = {None: "none", True: "folded by its authors"}
"""Field ``bn_folded`` of a card without factors of a norm -> the norm in words."""


@dataclass(frozen=True, eq=False)
class AtlasEntry:
    """First layer of one network of the atlas.

    Parameters
    ----------
    filters : (k, c, kh, kw) float32, with color channels in the order red, green, blue, and without
        the factors of a batch norm that is stored beside them
    folded : (k, c, kh, kw) float32, the filters with these factors,
        w * gamma / sqrt(running_var + eps); the same as ``filters`` if there is no norm, or the
        authors of the network have folded it
    network : the architecture in words
    family : the kind of architecture, whatever its width, such as ``ResNet``
    trained_on : the images and the task, as commonly documented
    norm : ``none`` (none, or unknown), ``beside`` or ``folded by its authors``
    license : its SPDX identifier, such as ``MIT``; the texts are in ``atlas/LICENSES.txt``
    source : repository or package, with the file
    source_sha256 : SHA-256 of that file, empty for networks of this package

    Examples
    --------
    >>> import repsim_energy as rs
    >>> entry = rs.open_atlas()["efficientnet_lite0"]
    >>> tuple(entry.folded.shape), entry.norm, bool((entry.folded == entry.filters).all())
    ((32, 3, 3, 3), 'beside', False)
    """

    filters: Tensor
    folded: Tensor
    network: str
    family: str
    trained_on: str
    norm: str
    license: str
    source: str
    source_sha256: str

    __repr__ = short_repr


def open_atlas() -> dict[str, AtlasEntry]:
    """Return the first layers that are part of this package, by name.

    They are of networks that other people trained and published, and of four networks of this
    package. ``docs/how-to/profile-a-network.md`` lists them. Several are of one source or family,
    and are not independent of each other.

    Returns
    -------
    dict
        Name -> :class:`AtlasEntry`, sorted by patch size and name

    Examples
    --------
    >>> import repsim_energy as rs
    >>> atlas = rs.open_atlas()
    >>> entry = atlas["mlperf_tiny_resnet8"]
    >>> tuple(entry.filters.shape), entry.family, entry.trained_on, entry.norm, entry.license
    ((16, 3, 3, 3), 'ResNet', 'CIFAR-10', 'beside', 'Apache-2.0')
    """
    entries = _published() | _own()
    return dict(sorted(entries.items(), key=lambda item: (item[1].filters.shape[1:], item[0])))


def _published() -> dict[str, AtlasEntry]:
    """Return the entries of the file of networks by other people."""
    from safetensors import safe_open

    path = files("repsim_energy") / "atlas" / "first-layers.safetensors"
    tensors: dict[str, dict[str, Tensor]] = {}
    with safe_open(str(path), "pt") as file:
        cards: dict[str, dict[str, Any]] = json.loads(file.metadata()["cards"])
        for key in file.keys():  # noqa: SIM118
            if (match := TENSORS.fullmatch(key)) is not None:
                tensors.setdefault(match["name"], {})[match["tensor"]] = file.get_tensor(key)
    return {name: _entry(card, tensors[name]) for name, card in cards.items()}


def _entry(card: dict[str, Any], tensors: dict[str, Tensor]) -> AtlasEntry:
    """Return an entry with its channels in the order red, green, blue."""
    filters = tensors["conv1.weight"]
    if card["channels"] == "BGR":
        filters = filters.flip(1)
    factors = _norm_factors(card, tensors)
    norm = NORMS.get(card["bn_folded"], "none") if factors is None else "beside"
    return AtlasEntry(
        filters,
        filters if factors is None else scale_filters(filters, factors),
        norm=norm,
        **{field: card[field] for field in ("network", "family", "trained_on", "license")},
        source=card["source"],
        source_sha256=card["source_sha256"],
    )


def _norm_factors(card: dict[str, Any], tensors: dict[str, Tensor]) -> Tensor | None:
    """Return the (k,) factors of the batch norm after a layer, None if none is stored."""
    if "affine.weight" in tensors:
        return tensors["affine.weight"]
    if "bn1.running_var" not in tensors:
        return None
    variance = tensors["bn1.running_var"]
    scale = tensors.get("bn1.weight", torch.ones_like(variance))
    return scale / torch.sqrt(variance + card["bn_eps"])


def _own() -> dict[str, AtlasEntry]:
    """Return the runs of seed 0 that are part of this package, before and after training."""
    entries = {}
    for key in shipped_keys(""):
        manifest, tensors = shipped_run(key)
        if manifest["seed"]:
            continue
        name, images = manifest["identity"]["name"], manifest["dataset"]
        for stage, steps in (("init", 0), ("trained", manifest["steps"])):
            filters, scale = tensors[stage], _scale(tensors, stage)
            entries[f"{name}_{stage}"] = AtlasEntry(
                filters,
                filters if scale is None else scale_filters(filters, scale),
                network=f"{name}:width={manifest['identity']['options']['width']}",
                family=FAMILIES[manifest["model"]],
                trained_on=f"{images}, {steps} steps" if steps else "not trained",
                norm="none" if scale is None else "beside",
                license="MIT",
                source=f"{OWN}, example_result()",
                source_sha256="",
            )
    return entries


def _scale(tensors: dict[str, Tensor], stage: str) -> Tensor | None:
    """Return the (k,) factors of the batch norm at a stage of a run, None without one."""
    if stage == "trained":
        return tensors.get("trained_scale")
    scales = tensors.get("snapshots_scale")
    return None if scales is None else scales[0]
