"""Comparisons of what layers answer to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.layers import (
    Layers,
    choose_images,
    plan_layers,
    represent_layers,
    say_what_is_shown,
)
from repsim_energy.comparison.listed import items_of
from repsim_energy.comparison.measured import Measured, network_coords, paired
from repsim_energy.comparison.memory import check_memory, check_pairs
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.pairs import compare_pairs, say_what_is_undefined
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.profiles import SUBJECT, Variables, run_variables
from repsim_energy.interfaces import ImageSet, Metric

__all__ = ["ActivationComparison"]


@dataclass(frozen=True, eq=False)
class ActivationComparison:
    """What a comparison of activations knows before any network is trained.

    Parameters
    ----------
    layers : that are compared
    images : that networks are shown, of each data set
    split : which of a data set's images these are
    """

    plan: Plan
    metric: Metric
    layers: Layers
    images: Sequence[ImageSet]
    split: str

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        metric: Metric,
        layers: str | Sequence[str],
        images: int,
        asked: int | None,
    ) -> ActivationComparison:
        """Choose layers and images; refuse what cannot be compared.

        Parameters
        ----------
        images : how many are shown
        asked : how many were asked for; ``None`` where nothing was said
        """
        found = plan_layers(plan, items_of(layers) if isinstance(layers, str) else layers)
        check_pairs(plan, len(found.labels))
        shown = choose_images(plan, images, metric)
        split = say_what_is_shown(plan, asked)
        check_memory(plan, metric, found, [len(chosen) for chosen in shown])
        return cls(plan, metric, found, shown, split)

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Show images to the networks and compare what their layers answer."""
        plan, labels = self.plan, self.layers.labels
        representations: dict[tuple[int, ...], NDArray[np.float64]] = {}
        failures: list[str] = []
        for key, network in networks.items():
            found, without = represent_layers(
                self.metric,
                network,
                self.layers.names[key.model],
                self.layers.sizes[key.model],
                self.images[key.dataset].images,
                plan.device,
                plan.label(key),
            )
            failures += without
            representations |= {(*key, labels.index(layer)): found[layer] for layer in found}
        pairs = compare_pairs(
            self.metric,
            representations,
            (*plan.shape, len(labels)),
            lambda index: id(self.images[index[0]]),
        )
        called = {
            (d, m, s, at): f"layer '{labels[at]}' of '{plan.label(Key(d, m, s))}'"
            for d, m, s, at in representations
        }
        say_what_is_undefined(pairs, called)
        dims = paired((*SUBJECT, "layer"))
        variables: Variables = {name: (dims, values) for name, values in pairs.items()}
        attributes = {
            "images": ",".join(str(len(chosen)) for chosen in self.images),
            "images_from": self.split,
            "normalization": ",".join(plan.inputs),
        }
        return Measured(
            {**variables, **run_variables(plan, networks)},
            {**network_coords(plan, networks), "layer": labels, "layer_ref": labels},
            attributes,
            tuple(failures),
        )
