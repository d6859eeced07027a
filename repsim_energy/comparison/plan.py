"""Plan of a comparison: its data sets, models, seeds and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.comparison.examined import Patch, Place
from repsim_energy.interfaces import (
    Dataset,
    ModelSpec,
    TrainedModel,
)
from repsim_energy.models.filters.norm_folding import Folding
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Key", "Plan", "trainings_of"]


class Key(NamedTuple):
    """Indices of a network in a comparison: its data set, model and seed."""

    dataset: int
    model: int
    seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Validated plan of a comparison, before any network is trained.

    Parameters
    ----------
    seeds : of the networks that are trained here; one where none is
    trained : (data set, model) -> the network, for those that were trained elsewhere
    layers, patches : (data set, model) -> the name of the first layer and the patch that it sees;
        missing where none was found in a given network whose filters are not compared
    trainings : of the networks that are trained here or read from the run cache
    built : (model, data set) -> the untrained network of the first seed, where it was kept
    inputs : for each model, how its images are normalized, in words
    folds : (data set, model) -> what is folded into the filters, where that is asked for
    at : end of the labels of networks: the point of a sweep
    """

    datasets: list[Dataset]
    models: list[ModelSpec]
    seeds: list[int]
    recipe: Recipe
    device: torch.device
    trained: Mapping[Place, TrainedModel]
    layers: Mapping[Place, str]
    patches: Mapping[Place, Patch]
    trainings: Mapping[Key, Training]
    built: Mapping[tuple[ModelSpec, Dataset], nn.Module]
    folds: Mapping[Place, Folding]
    inputs: Sequence[str] = ()
    at: str = ""

    @property
    def shape(self) -> Key:
        """The sizes of the dimensions dataset, model and seed."""
        return Key(len(self.datasets), len(self.models), len(self.seeds))

    @property
    def trains(self) -> bool:
        """True if some networks are trained here or read from the run cache."""
        return len(self.trained) < len(self.datasets) * len(self.models)

    @property
    def keys(self) -> list[Key]:
        """Keys of all networks. A network trained elsewhere has one, at the first seed."""
        return [
            Key(d, m, s)
            for d in range(len(self.datasets))
            for m in range(len(self.models))
            for s in range(1 if (d, m) in self.trained else len(self.seeds))
        ]

    def at_point(self, recipe: Recipe, at: str) -> Plan:
        """Return the plan with another recipe, and with the point of a sweep in its labels."""
        plan = replace(self, recipe=recipe, at=at)
        trainings = {
            key: replace(training, recipe=recipe, label=plan.label(key))
            for key, training in self.trainings.items()
        }
        return replace(plan, trainings=trainings)

    def untrained(self, training: Training) -> nn.Module:
        """Return a network before its training: the one that was built for this plan, if kept.

        That one is of the first seed, whatever the seed of the training.
        """
        built = self.built.get((training.model, training.data))
        return training.new_network() if built is None else built

    def label(self, key: Key) -> str:
        """Return the name of a network in messages, with its seed if it is trained here."""
        d, m, s = key
        seed = None if (d, m) in self.trained else self.seeds[s]
        return network_label(self.datasets, d, self.models[m], seed) + self.at


def network_label(
    datasets: Sequence[Dataset], dataset: int, model: ModelSpec, seed: int | None
) -> str:
    """Return the name of a network in messages.

    Parameters
    ----------
    seed : ``None`` for a network that is trained already
    """
    prefix = f"{datasets[dataset].label} " if len(datasets) > 1 else ""
    return f"{prefix}{model.label}" + ("" if seed is None else f" seed {seed}")


def trainings_of(
    datasets: Sequence[Dataset], models: Sequence[ModelSpec], seeds: Sequence[int], recipe: Recipe
) -> dict[Place, list[Training]]:
    """Return the trainings of each data set and model, one for each seed."""
    return {
        (d, m): [
            Training(model, data, seed, recipe, network_label(datasets, d, model, seed))
            for seed in seeds
        ]
        for d, data in enumerate(datasets)
        for m, model in enumerate(models)
    }
