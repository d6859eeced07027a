"""Comparison of the filters of deeper layers, each on the patches of its own input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from repsim_energy.comparison.deeper_options import (
    check_align,
    choose_layer_stage,
    training_images,
)
from repsim_energy.comparison.layer_alignment import InputMoments, Shown, input_moments
from repsim_energy.comparison.layer_pairs import RankPairs, SharedInputPairs, bank_of
from repsim_energy.comparison.layer_patches import filter_layers, measure_bases
from repsim_energy.comparison.layer_roles import LayersLike, Role, layers_of_model, roles_of
from repsim_energy.comparison.layer_variables import layer_variables, pairs_of
from repsim_energy.comparison.layers import naming
from repsim_energy.comparison.measured import (
    NETWORK_DIMS,
    Coords,
    Measured,
    dataset_coord,
    model_coord,
    network_coords,
    paired,
)
from repsim_energy.comparison.memory import check_pairs
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.pairs import pair_variables, warn_undefined
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.runs import run_variables
from repsim_energy.errors import RepsimError, UsageError, reason_of, warn
from repsim_energy.interfaces import FilterBank, Metric
from repsim_energy.models.filters.any_layer import layer_filters
from repsim_energy.progress import working
from repsim_energy.results import Variable
from repsim_energy.training.build import NETWORK_ERRORS

__all__ = ["LayerComparison"]

FURTHER = {
    "rank": ("compared_components", "number of components that are compared"),
    "input": ("input_similarity", "similarity of the aligned inputs of both layers, 0 to 1"),
}
"""Value of ``align`` -> a further variable of each pair, and its meaning."""

Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """Comparison by a metric on filters of any layers, prepared before any network is trained.

    Parameters
    ----------
    stage : ``init``, ``trained`` or ``change``, at which filters are compared
    align : ``rank``, ``input``, or empty for a single network
    named : for each model, layer -> submodule
    images : of each data set, from which patches are taken
    """

    plan: Plan
    metric: Metric
    stage: str
    align: str
    named: Sequence[Mapping[str, str]]
    images: Sequence[Tensor]

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        metric: Metric,
        layers: LayersLike,
        images: int,
        stage: str,
        align: str,
        asked: Mapping[str, Any],
        null: str = "auto",
        resamples: int | None = None,
    ) -> LayerComparison:
        """Choose stage, layers and images, and check that the comparison is possible.

        Parameters
        ----------
        images : maximum number of training images of each data set
        asked : arguments that the user gave, by name
        """
        check_align(align, several=len(plan.keys) > 1)
        for name, value, usual in (
            ("null", null, ("auto", "metric")),
            ("resamples", resamples, (None, 0)),
        ):
            if value not in usual:
                raise UsageError(
                    f"got {name}={value}, which is for first layers, and deeper ones are compared; "
                    "leave it out"
                )
        stage = choose_layer_stage(stage, plan)
        named, roles = [], roles_of(layers, [spec.label for spec in plan.models])
        for m, spec in enumerate(plan.models):
            given = plan.trained.get((0, m))
            if given is not None and not given.network:
                raise UsageError(
                    f"model '{spec.label}' is filters alone and has no deeper layers; name its "
                    "architecture with arch=, or leave layers= out"
                )
            module = given.module if given else plan.untrained(plan.trainings[Key(0, m, 0)])
            with naming(spec.label):
                named.append(_named_layers(module, roles, spec.label, plan.layers.get((0, m))))
        comparison = cls(plan, metric, stage, align, named, training_images(plan, images))
        check_pairs(plan, len(comparison.labels), numbers=4)
        for data in plan.datasets:
            if asked.get("images", 0) > len(data.train):
                warn(
                    f"got images={images}, but '{data.label}' has {len(data.train)} training "
                    "images; all are shown"
                )
        return comparison

    @property
    def labels(self) -> list[str]:
        """Names of all layers without repetition."""
        return list(dict.fromkeys(layer for names in self.named for layer in names))

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Measure the layers of all networks and compare them."""
        plan, labels = self.plan, self.labels
        banks: dict[Index, FilterBank] = {}
        failures: list[str] = []
        with working("measuring layers", len(networks), "networks") as advance:
            for key, network in networks.items():
                try:
                    found = self._banks(key, network)
                except (RepsimError, *NETWORK_ERRORS) as error:
                    failures.append(f"{plan.label(key)}: {reason_of(error)}; its pairs are NaN")
                    found = {}
                for layer, bank in found.items():
                    if bank.filters.isfinite().all():
                        banks[*key, labels.index(layer)] = bank
                    else:
                        failures.append(
                            f"{plan.label(key)}: the filters of layer '{layer}' hold NaN or "
                            "infinite numbers; its pairs are NaN"
                        )
                advance(1)
        if not banks:
            raise RepsimError(failures[0])
        _warn_of_missing(banks)
        shape, dims = (*plan.shape, len(labels)), (*NETWORK_DIMS, "layer")
        pairs, further = pairs_of(self._comparer(networks, banks), banks, shape)
        called = {at: f"layer '{labels[at[3]]}' of '{plan.label(Key(*at[:3]))}'" for at in banks}
        warn_undefined(pairs, called)
        variables = {
            **pair_variables(pairs, paired(dims), "metric"),
            **layer_variables(banks, shape),
            **run_variables(plan, networks),
        }
        if self.align:
            name, meaning = FURTHER[self.align]
            variables[name] = Variable(paired(dims), further, meaning)
        attributes = {
            "stage": self.stage,
            "null": "metric",
            "basis": "own",
            "align": self.align,
            "centered": "true",
        }
        return Measured(variables, self._coords(networks), attributes, tuple(failures))

    def _comparer(
        self, networks: Mapping[Key, Network], banks: Mapping[Index, FilterBank]
    ) -> Callable[[Index, Index], tuple[float, float, float, float]]:
        """Return the function that compares two layers."""
        if self.align != "input":
            return RankPairs(self.metric, banks).compare
        moments: dict[Index, InputMoments] = {}
        measured = {at[:3] for at in banks}
        for d, images in enumerate(self.images):
            shown = {
                tuple(key): Shown(
                    self._module(key, network),
                    {self.labels.index(la): name for la, name in self.named[key.model].items()},
                    network.normalization,
                )
                for key, network in networks.items()
                if key.dataset == d and key in measured
            }
            moments |= input_moments(shown, images, self.plan.device)
        return SharedInputPairs(self.metric, banks, moments).compare

    def _module(self, key: Key, network: Network) -> nn.Module:
        """Return the network whose inputs are measured: before its training at stage init."""
        if self.stage == "init":
            return self.plan.trainings[key].new_network()
        return network.module()

    def _banks(self, key: Key, network: Network) -> dict[str, FilterBank]:
        """Return the filters of each layer of a network on the basis of its own input."""
        module, named = self._module(key, network), self.named[key.model]
        bases = measure_bases(
            module,
            named,
            self.images[key.dataset],
            normalization=network.normalization,
            device=self.plan.device,
        )
        filters = {la: layer_filters(module.get_submodule(name), la) for la, name in named.items()}
        if self.stage == "change":
            before = self.plan.trainings[key].new_network()
            for layer, name in named.items():
                filters[layer] = filters[layer] - layer_filters(before.get_submodule(name), layer)
        return {layer: bank_of(filters[layer], basis) for layer, basis in bases.items()}

    def _coords(self, networks: Mapping[Key, Network]) -> Coords:
        plan, labels = self.plan, self.labels
        counts = (len(images) for images in self.images)
        return {
            **network_coords(plan, networks),
            "layer": labels,
            "layer_ref": labels,
            "n_images": dataset_coord(counts, "training images that patches are taken from", "1"),
            "images_from": dataset_coord(
                ["train"] * len(self.images), "split of the images that patches are taken from"
            ),
            "normalization": model_coord(
                plan, enumerate(plan.inputs), "normalization of the images shown"
            ),
        }


def _named_layers(
    module: nn.Module, roles: Sequence[Role], model: str, first: str | None
) -> dict[str, str]:
    """Return the submodule of each layer of a model."""
    known = {name for name, _ in module.named_modules()}
    return layers_of_model(roles, model, known, lambda name: filter_layers(module, [name], first))[
        0
    ]


def _warn_of_missing(banks: Mapping[Index, FilterBank]) -> None:
    """Warn once of components without variance in any layers."""
    layers = sum(bank.basis.without_variance > 0 for bank in banks.values())
    if layers:
        warn(
            f"components of the patches of {layers} layers (of all networks) have no variance and "
            "are left out, as of channels that are always zero; components_with_variance counts "
            "the others"
        )
