"""Comparison of activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.layers import (
    Layers,
    choose_images,
    passes_of,
    plan_layers,
    represent_layers,
    say_what_is_shown,
)
from repsim_energy.comparison.listed import items_of
from repsim_energy.comparison.measured import (
    NETWORK_DIMS,
    Coords,
    Measured,
    dataset_coord,
    model_coord,
    network_coords,
    paired,
)
from repsim_energy.comparison.memory import (
    NUMBERS_PER_PAIR,
    check_draws,
    check_memory,
    check_pairs,
)
from repsim_energy.comparison.metric_variables import with_metric_variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.nulls.judged import Numbers, null_variables
from repsim_energy.comparison.nulls.of_activations import SampleNull
from repsim_energy.comparison.nulls.words import DRAWS, Null, choose_null
from repsim_energy.comparison.pairs import compare_pairs, pair_variables, warn_undefined
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.runs import run_variables
from repsim_energy.interfaces import ImageSet, Metric
from repsim_energy.progress import working

__all__ = ["ActivationComparison"]


@dataclass(frozen=True, eq=False)
class ActivationComparison:
    """Comparison by a metric on activations, prepared before any network is trained.

    Parameters
    ----------
    null : of the similarities
    layers : layers of each model that are compared
    images : images of each data set that the networks are shown
    splits : the split of these images, ``test`` or ``train``
    """

    plan: Plan
    metric: Metric
    null: Null
    layers: Layers
    images: Sequence[ImageSet]
    splits: Sequence[str]

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        metric: Metric,
        layers: str | Sequence[str],
        images: int,
        null: str,
        asked: Mapping[str, Any],
    ) -> ActivationComparison:
        """Choose layers and images, and check that the comparison is possible.

        Parameters
        ----------
        images : maximum number of images of each data set
        asked : arguments that the user gave, by name
        """
        chosen = choose_null(null, metric)
        planned = plan_layers(plan, items_of(layers) if isinstance(layers, str) else layers)
        check_pairs(plan, len(planned.labels), numbers=2 * NUMBERS_PER_PAIR)
        if chosen.drawn:
            check_draws(DRAWS * (math.prod(plan.shape) * len(planned.labels)) ** 2 // 2)
        shown = choose_images(plan, images, metric)
        splits = say_what_is_shown(plan, asked.get("images"))
        check_memory(plan, metric, planned, [len(chosen) for chosen in shown], chosen.drawn)
        return cls(plan, metric, chosen, planned, shown, splits)

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Show images to the networks and compare the activations of their layers."""
        plan, labels, null = self.plan, self.layers.labels, self.null
        representations: dict[tuple[int, ...], NDArray[np.float64]] = {}
        failures: list[str] = []
        with working("showing images to networks", self._shown(networks), "images") as advance:
            for key, network in networks.items():
                found, without = represent_layers(
                    self.metric,
                    network,
                    self.layers.names[key.model],
                    self.layers.sizes[key.model],
                    self.images[key.dataset].images,
                    plan.device,
                    plan.label(key),
                    advance,
                )
                failures += without
                representations |= {(*key, labels.index(layer)): found[layer] for layer in found}
        pairs = compare_pairs(
            self.metric,
            representations,
            (*plan.shape, len(labels)),
            lambda index: id(self.images[index[0]]),
            intervals=null.exact or not null.drawn,
        )
        called = {
            (d, m, s, at): f"layer '{labels[at]}' of '{plan.label(Key(d, m, s))}'"
            for d, m, s, at in representations
        }
        warn_undefined(pairs, called)
        of_best: Numbers = {}
        if null.exact or null.drawn:
            against = SampleNull(null, self.metric, plan, self.layers, self.images)
            numbers, of_best = against.numbers(networks, representations, pairs["similarity"])
            pairs |= numbers
        dims = (*NETWORK_DIMS, "layer")
        variables = {
            **pair_variables(pairs, paired(dims), null.word),
            **null_variables(of_best, paired(NETWORK_DIMS), null.word, "best_"),
            **run_variables(plan, networks),
        }
        attributes = {"null": null.word}
        measured = Measured(variables, self._coords(networks), attributes, tuple(failures))
        return with_metric_variables(measured, self.metric, representations, dims)

    def _shown(self, networks: Iterable[Key]) -> int:
        """Return how many images all networks are shown, in all passes."""
        shown = 0
        for key in networks:
            images = len(self.images[key.dataset])
            shown += images * passes_of(self.metric, self.layers.sizes[key.model], images)
        return shown

    def _coords(self, networks: Mapping[Key, Network]) -> Coords:
        plan, labels = self.plan, self.layers.labels
        counts = (len(images) for images in self.images)
        return {
            **network_coords(plan, networks),
            "layer": labels,
            "layer_ref": labels,
            "n_images": dataset_coord(counts, "images that the networks were shown", "1"),
            "images_from": dataset_coord(self.splits, "split of the images shown"),
            "normalization": model_coord(
                plan, enumerate(plan.inputs), "normalization of the images shown"
            ),
        }
