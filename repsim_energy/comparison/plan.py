"""Plan of a comparison: resolve names, load images, build every model once, refuse mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.comparison.examined import Examined, Patch, Place
from repsim_energy.comparison.given import DatasetLike, ModelLike, as_datasets, as_models
from repsim_energy.comparison.inputs import (
    for_each,
    with_answers,
    with_inputs,
)
from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import (
    Dataset,
    ImageSet,
    ModelSpec,
    PatchBasis,
    TrainedModel,
)
from repsim_energy.models.filters.norm_folding import Folding
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
from repsim_energy.registry import Registry
from repsim_energy.specs import MOST_SEEDS
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.recipe import Recipe, as_recipe
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Key", "Plan", "basis_of_images", "make_plan", "patch_bases"]


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
    built : (model, data set) -> the untrained network of the first seed, where it was kept
    inputs : for each model, how its images are normalized, in words
    folds : (data set, model) -> what is folded into the filters, where that is asked for
    """

    datasets: list[Dataset]
    models: list[ModelSpec]
    seeds: list[int]
    recipe: Recipe
    device: torch.device
    trained: Mapping[Place, TrainedModel]
    layers: Mapping[Place, str]
    patches: Mapping[Place, Patch]
    built: Mapping[tuple[ModelSpec, Dataset], nn.Module]
    folds: Mapping[Place, Folding]
    inputs: Sequence[str] = ()

    @property
    def shape(self) -> Key:
        """The sizes of the dimensions dataset, model and seed."""
        return Key(len(self.datasets), len(self.models), len(self.seeds))

    @property
    def trains(self) -> bool:
        """Whether some networks are trained here or read from the run cache."""
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

    @property
    def trainings(self) -> dict[Key, Training]:
        """The networks that are trained here or read from the run cache."""
        return {key: self.training(key) for key in self.keys if key[:2] not in self.trained}

    def training(self, key: Key) -> Training:
        """Return the training of a network."""
        d, m, s = key
        return Training(
            self.models[m], self.datasets[d], self.seeds[s], self.recipe, self.label(key)
        )

    def untrained(self, training: Training) -> nn.Module:
        """Return a network before its training: the one that was built for this plan, if kept.

        That one is of the first seed, whatever the seed of the training.
        """
        built = self.built.get((training.model, training.data))
        return training.new_network() if built is None else built

    def label(self, key: Key) -> str:
        """Return the name of a network in messages, with its seed if it is trained here."""
        d, m, s = key
        prefix = f"{self.datasets[d].label} " if len(self.datasets) > 1 else ""
        seed = "" if (d, m) in self.trained else f" seed {self.seeds[s]}"
        return f"{prefix}{self.models[m].label}{seed}"


def make_plan(
    registry: Registry,
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    datasets: DatasetLike | Sequence[DatasetLike],
    seeds: int | Sequence[int],
    recipe: str | Recipe,
    device: str | torch.device,
    *,
    filters: bool = True,
    normalize: str | Mapping[str, str] = "auto",
    answer: str | Mapping[str, str] = "",
    fold: str | Mapping[str, str] = "",
    channels: str | Mapping[str, str] = "",
) -> Plan:
    """Resolve every name, load the images and build every model once.

    Parameters
    ----------
    filters : False where filters are not compared, so that networks need not have any
    normalize, answer, fold, channels : as in :func:`~repsim_energy.compare`
    """
    device = choose_device(device)
    recipe = choose_precision(as_recipe(recipe), device)
    seeds = _as_seeds(seeds)
    models = with_answers(as_models(registry, models), answer)
    loaded = as_datasets(registry, datasets)
    labels = [model.label for model in models]
    fold = for_each("fold", fold, labels, "")
    channels = for_each("channels", channels, labels, "")
    networks = Examined(seeds[0], fold, channels, filters)
    for d, data in enumerate(loaded):
        loaded[d] = networks.add(d, data, models)
    plan = Plan(
        loaded,
        models,
        seeds,
        recipe,
        device,
        networks.trained,
        networks.layers,
        networks.patches,
        networks.built,
        networks.folds,
    )
    if not plan.trains:
        plan = replace(plan, seeds=seeds[:1])
    return with_inputs(plan, normalize, shown=not filters)


def _as_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds 0, 1, ... of a number, or those that are given."""
    try:
        given = seeds if isinstance(seeds, Iterable) else range(index(seeds))
        numbers = [index(seed) for seed in islice(given, MOST_SEEDS + 1)]
    except (TypeError, OverflowError) as error:
        raise UsageError(
            f"got seeds {seeds!r}, expected how many, or a list of whole numbers"
        ) from error
    if len(numbers) > MOST_SEEDS:
        got = f"more than {MOST_SEEDS}" if isinstance(seeds, Iterable) else seeds
        raise UsageError(
            f"got {got} seeds, expected at most {MOST_SEEDS}; one seed is given in a list, such as "
            "seeds=[20240101]"
        )
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise UsageError(f"got seeds {numbers}, expected at least one, each once, none negative")
    if max(numbers) >= 2**63:
        raise UsageError(f"got seed {max(numbers)}, expected less than 2^63")
    return numbers


def patch_bases(
    plan: Plan, moments_of: Callable[[torch.Tensor, tuple[int, int]], PatchMoments] = patch_moments
) -> list[PatchBasis]:
    """Return each data set's patch basis; sets of the same images share one."""
    (d, m), patch = next(iter(plan.patches.items()))
    for (_, other), shape in plan.patches.items():
        if shape != patch:
            raise ShapeError(
                f"'{plan.models[m].label}' sees {_size(patch)} patches and "
                f"'{plan.models[other].label}' {_size(shape)}, which have no components in common; "
                "compare models of one patch shape at a time"
            )
    bases: dict[str, PatchBasis] = {}
    for data in plan.datasets:
        images = data.train
        if images.image_fingerprint not in bases:
            bases[images.image_fingerprint] = basis_of_images(images, patch[1:], moments_of)
    return [bases[data.train.image_fingerprint] for data in plan.datasets]


def basis_of_images(
    images: ImageSet,
    patch: tuple[int, int, int, int],
    moments_of: Callable[[torch.Tensor, tuple[int, int]], PatchMoments] = patch_moments,
) -> PatchBasis:
    """Return the patch basis of images.

    Parameters
    ----------
    patch : (kh, kw, rows, columns), with the dilation of the filters
    """
    kh, kw, rows, columns = patch
    window = (rows * (kh - 1) + 1, columns * (kw - 1) + 1)
    basis = moments_of(images.images, window).every(rows, columns).basis()
    return basis if images.transform is None else transform_basis(basis, images.transform)


def _size(patch: Patch) -> str:
    c, kh, kw, rows, columns = patch
    return f"{kh}x{kw}x{c}" + (f" (dilated by {rows}x{columns})" if rows * columns > 1 else "")
