"""What a comparison is going to do; everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING

from repsim_energy.comparison.inputs import with_answers, with_inputs
from repsim_energy.comparison.subjects import DatasetLike, ModelLike, as_datasets, as_models
from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import (
    Dataset,
    ModelSpec,
    PatchBasis,
    TrainedModel,
)
from repsim_energy.models.layers import find_layer
from repsim_energy.numerics.components import transform_basis
from repsim_energy.numerics.patches import PatchMoments, patch_moments
from repsim_energy.registry import Registry
from repsim_energy.scheduling.tasks import Key
from repsim_energy.training.build import build
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.loop import normalisation_of
from repsim_energy.training.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Key", "Plan", "Step", "make_plan", "patch_bases"]

Patch = tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """How far a comparison is: step ``step`` of ``steps`` of run ``run`` of ``runs``."""

    label: str
    run: int
    runs: int
    step: int
    steps: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a comparison needs to know before it trains anything.

    Parameters
    ----------
    trained : (dataset, model) -> the network, for those that were trained elsewhere
    patches : (dataset, model) -> the patch that the first layer sees
    inputs : for each model, how its images are normalized, in words
    """

    datasets: list[Dataset]
    models: list[ModelSpec]
    seeds: list[int]
    recipe: Recipe
    device: torch.device
    trained: Mapping[tuple[int, int], TrainedModel]
    patches: Mapping[tuple[int, int], Patch]
    inputs: Sequence[str] = ()

    @property
    def shape(self) -> Key:
        """The sizes of the dimensions dataset, model and seed."""
        return (len(self.datasets), len(self.models), len(self.seeds))

    @property
    def keys(self) -> list[Key]:
        """All networks; one trained elsewhere stands at the first seed alone."""
        return [
            (d, m, s)
            for d in range(len(self.datasets))
            for m in range(len(self.models))
            for s in range(1 if (d, m) in self.trained else len(self.seeds))
        ]

    def label(self, key: Key) -> str:
        """Return what to call a network."""
        d, m, s = key
        prefix = f"{self.datasets[d].label} " if len(self.datasets) > 1 else ""
        return f"{prefix}{self.models[m].label} seed {self.seeds[s]}"


def make_plan(
    registry: Registry,
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    datasets: DatasetLike | Sequence[DatasetLike],
    seeds: int | Sequence[int],
    recipe: str | Recipe,
    device: str,
    *,
    filters: bool = True,
    normalize: str | Mapping[str, str] = "auto",
    answer: str | Mapping[str, str] = "",
) -> Plan:
    """Resolve every name, load the images and build every model once.

    Parameters
    ----------
    filters : False where filters are not compared, so that networks need not have any
    normalize, answer : as in :func:`~repsim_energy.compare`
    """
    place = choose_device(device)
    how = parse_recipe(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(how, Recipe):
        raise UsageError(f"got a recipe of type {type(how).__name__}, expected a name or a Recipe")
    how = choose_precision(how, place)
    specs = with_answers(as_models(registry, models), answer)
    sets = as_datasets(registry, datasets)
    numbers = _as_seeds(seeds)
    trained, patches = {}, {}
    for d, data in enumerate(sets):
        normalisation_of(data.train)  # refuses empty, constant and infinite images
        for m, spec in enumerate(specs):
            built = build(spec, data, numbers[0])
            if isinstance(built, TrainedModel):
                built = replace(built, answer=spec.answer or built.answer)
                trained[d, m] = built
            with nullcontext() if filters or (d, m) not in trained else suppress(UsageError):
                patches[d, m] = _patch(built, spec, data)
    plan = Plan(sets, specs, numbers, how, place, trained, patches)
    return with_inputs(plan, normalize, shown=not filters)


def _as_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds 0, 1, ... of a number, or those that are given."""
    try:
        given = seeds if isinstance(seeds, Iterable) else range(index(seeds))
        numbers = [index(seed) for seed in given]
    except TypeError as error:
        raise UsageError(
            f"got seeds {seeds!r}, expected how many, or a list of whole numbers"
        ) from error
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise UsageError(f"got seeds {numbers}, expected at least one, each once, none negative")
    if max(numbers) >= 2**63:
        raise UsageError(f"got seed {max(numbers)}, expected less than 2^63")
    return numbers


def _patch(built: nn.Module | TrainedModel, spec: ModelSpec, data: Dataset) -> Patch:
    module, name = (built.module, built.layer) if isinstance(built, TrainedModel) else (built, None)
    c, kh, kw = find_layer(module, name)[1].weight.shape[1:]
    channels = data.train.images.shape[1]
    if c != channels:
        raise ShapeError(
            f"images of '{data.label}' have {channels} channels but the filters of '{spec.label}' "
            f"see {c}; use images with {c} channels or another model"
        )
    return (int(c), int(kh), int(kw))


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
            basis = moments_of(images.images, patch[1:]).basis()
            if images.transform is not None:
                basis = transform_basis(basis, images.transform)
            bases[images.image_fingerprint] = basis
    return [bases[data.train.image_fingerprint] for data in plan.datasets]


def _size(patch: Patch) -> str:
    return f"{patch[1]}x{patch[2]}x{patch[0]}"
