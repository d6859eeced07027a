"""Comparison of activations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.intervals import (
    choose_image_groups,
    half_batches,
    halves_of_samples,
)
from repsim_energy.comparison.layer_coords import layer_coords
from repsim_energy.comparison.layer_roles import LayersLike
from repsim_energy.comparison.layers import (
    batches_of,
    choose_images,
    passes_of,
    represent_layers,
    say_what_is_shown,
)
from repsim_energy.comparison.measured import (
    Coords,
    Measured,
    dataset_coord,
    model_coord,
    network_coords,
)
from repsim_energy.comparison.memory import (
    NUMBERS_PER_PAIR,
    check_draws,
    check_memory,
    check_pairs,
)
from repsim_energy.comparison.metric_variables import with_metric_variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.nulls.of_activations import KeepingMetric
from repsim_energy.comparison.nulls.words import DRAWS, Null, choose_null
from repsim_energy.comparison.pairs import compare_pairs
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.plan_layers import Layers, plan_layers
from repsim_energy.comparison.reduced_precision import change_of, check_precision, first_images
from repsim_energy.comparison.runs import run_variables
from repsim_energy.comparison.sample_pairs import LAYER_DIMS, Index, SamplePairs
from repsim_energy.comparison.views import (
    Words,
    refuse_several_sizes,
    say_what_was_not_chosen,
    warn_different_samples,
    words_of,
)
from repsim_energy.errors import RepsimWarning
from repsim_energy.interfaces import ImageSet, Metric
from repsim_energy.progress import working

__all__ = ["ActivationComparison"]

Representations = dict[Index, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class ActivationComparison:
    """Comparison by a metric on activations, prepared before any network is trained.

    Parameters
    ----------
    null : of the similarities
    layers : layers of each model that are compared
    words : the options ``pool`` and ``tokens`` of each model
    images : images of each data set that the networks are shown
    splits : the split of these images, ``test`` or ``train``
    groups : number of groups of images, of which half-samples are compared
    precision : of the forward passes, ``float32`` or ``bfloat16``
    """

    plan: Plan
    metric: Metric
    null: Null
    layers: Layers
    words: Sequence[Words]
    images: Sequence[ImageSet]
    splits: Sequence[str]
    groups: int = 0
    precision: str = "float32"

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        metric: Metric,
        layers: LayersLike,
        images: int,
        null: str,
        asked: Mapping[str, Any],
        *,
        pool: str | Mapping[str, str] = "flatten",
        tokens: str | Mapping[str, str] = "all",
        resamples: int | None = None,
        precision: str = "float32",
    ) -> ActivationComparison:
        """Choose layers and images, and check that the comparison is possible.

        Parameters
        ----------
        images : maximum number of images of each data set
        asked : arguments that the user gave, by name
        pool, tokens : as in :func:`~repsim_energy.compare`
        resamples : number of groups of images, of which half-samples are compared
        precision : of the forward passes
        """
        check_precision(precision, metric, plan.device)
        models = [spec.label for spec in plan.models]
        words = words_of(pool, tokens, models)
        refuse_several_sizes(words, plan.datasets)
        planned = plan_layers(plan, layers, words)
        say_what_was_not_chosen(words, planned.views, models)
        warn_different_samples(planned.views, models)
        chosen = choose_null(null, metric, positions=planned.has_sample_grids)
        if chosen.drawn:
            check_draws(DRAWS * (math.prod(plan.shape) * len(planned.labels)) ** 2 // 2)
        shown = choose_images(plan, images, metric)
        groups = choose_image_groups(resamples, min(map(len, shown)), metric)
        check_pairs(plan, len(planned.labels), numbers=2 * NUMBERS_PER_PAIR + groups)
        splits = say_what_is_shown(plan, asked.get("images"))
        sizes = [len(images) for images in shown]
        check_memory(plan, metric, planned, sizes, groups=groups, drawn=chosen.drawn)
        return cls(plan, metric, chosen, planned, words, shown, splits, groups, precision)

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Show images to the networks and compare the activations of their layers."""
        plan = self.plan
        of_precision = self._check_change(networks) if self.precision == "bfloat16" else {}
        representations, halves, failures = self._represent(networks)
        pairs = SamplePairs(
            plan,
            self.metric,
            self.null,
            self.layers,
            self._samples_of,
            partial(self._activations, networks),
            self._called,
        )
        each = halves or half_batches(representations, self.groups, self._batches())
        variables, attributes = pairs.variables(representations, each)
        variables |= run_variables(plan, networks)
        attributes |= of_precision
        measured = Measured(variables, self._coords(networks), attributes, tuple(failures))
        return with_metric_variables(measured, self.metric, representations, LAYER_DIMS)

    def _check_change(self, networks: Mapping[Key, Network]) -> dict[str, str]:
        """Return how much bfloat16 changes similarities on the first images. Refuse large changes.

        Raises
        ------
        UsageError
            If a similarity changes by more than is accepted.
        """
        first = replace(self, images=first_images(self.images, self.metric), groups=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepsimWarning)  # which all images give
            exact = replace(first, precision="float32")._similarities(networks)
            reduced = first._similarities(networks)
        change = change_of(exact, reduced, max(map(len, first.images)))
        places = list(np.ndindex(self._shape))
        change.refuse_if_large(self.metric, lambda at: self._called(places[at]))
        return change.attributes()

    def _similarities(self, networks: Mapping[Key, Network]) -> NDArray[np.float64]:
        """Return the similarities of all pairs of layers, without their null, as a matrix."""
        representations = self._represent(networks)[0]
        pairs = compare_pairs(
            self.metric, representations, self._shape, self._samples_of, intervals=False
        )
        return pairs["similarity"].reshape(2 * (math.prod(self._shape),))

    @property
    def _shape(self) -> Index:
        return (*self.plan.shape, len(self.layers.labels))

    def _called(self, index: Index) -> str:
        """Return the name of a layer in messages."""
        return f"layer '{self.layers.labels[index[3]]}' of '{self.plan.label(Key(*index[:3]))}'"

    def _represent(
        self, networks: Mapping[Key, Network]
    ) -> tuple[Representations, list[Representations], list[str]]:
        """Return the representations of all layers, those of half-samples, and failures."""
        plan, labels = self.plan, self.layers.labels
        representations: Representations = {}
        chosen = [
            halves_of_samples(self.metric, self.groups, len(images)) for images in self.images
        ]
        halves: list[Representations] = [{} for _ in chosen[0]]
        failures: list[str] = []
        with working("showing images to networks", self._shown(networks), "images") as advance:
            for key, network in networks.items():
                found, of_halves, without = represent_layers(
                    self.metric,
                    network,
                    self.layers.names[key.model],
                    self.layers.sizes[key.model],
                    self.images[key.dataset].images,
                    plan.device,
                    plan.label(key),
                    advance,
                    self.layers.views[key.model],
                    self.layers.typed[key.model],
                    chosen[key.dataset],
                    self.precision,
                )
                failures += without
                for all_of, of in zip([representations, *halves], [found, *of_halves], strict=True):
                    all_of |= {(*key, labels.index(layer)): of[layer] for layer in of}
        return representations, halves, failures

    def _activations(self, networks: Mapping[Key, Network], index: Index) -> Tensor:
        """Return the activations of a layer for all images, by showing these once more."""
        key, layer = Key(*index[:3]), self.layers.labels[index[3]]
        kept = KeepingMetric()
        represent_layers(
            kept,
            networks[key],
            {layer: self.layers.names[key.model][layer]},
            {layer: self.layers.sizes[key.model][layer]},
            self.images[key.dataset].images,
            self.plan.device,
            self.plan.label(key),
            views=self.layers.views[key.model],
            typed=self.layers.typed[key.model],
            precision=self.precision,
        )
        return kept.activations

    def _samples_of(self, index: Index) -> tuple[int, tuple[int, ...]]:
        """Return what identifies the samples of a layer: its images, and positions in them."""
        d, m, _, at = index
        return id(self.images[d]), self.layers.sample_grid(m, self.layers.labels[at])

    def _batches(self) -> list[int]:
        """Return the number of batches of images of each data set."""
        batch = getattr(self.metric, "batch", None) or 1
        return [batches_of(len(images), batch)[0] for images in self.images]

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
            **layer_coords(self.layers, self.words),
        }
