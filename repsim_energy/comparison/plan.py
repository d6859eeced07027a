"""What a comparison is going to do; everything that can be refused is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.comparison.folding import folding_of
from repsim_energy.comparison.given import DatasetLike, ModelLike, as_datasets, as_models
from repsim_energy.comparison.inputs import (
    for_each,
    refuse_order,
    with_answers,
    with_inputs,
    with_options,
)
from repsim_energy.data.selection import is_gray, select
from repsim_energy.errors import RepsimWarning, ShapeError, UsageError
from repsim_energy.interfaces import (
    Dataset,
    ModelSpec,
    PatchBasis,
    TrainedModel,
)
from repsim_energy.models.filters.applied_filters import applied_filters, filter_dilation
from repsim_energy.models.filters.first_layer import first_layer, named_layer
from repsim_energy.models.filters.norm_folding import Folding
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
from repsim_energy.registry import Registry
from repsim_energy.specs import MOST_SEEDS
from repsim_energy.training.build import build, image_shape
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.recipe import Recipe, parse_recipe
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Key", "Plan", "make_plan", "patch_bases"]

Patch = tuple[int, int, int, int, int]
"""Channels, rows and columns of the pixels that a first layer sees at once, and the step from one
to the next, which is more than 1 in the filters of a dilated convolution."""


class Key(NamedTuple):
    """Where a network stands in a comparison: the indices of data set, model and seed."""

    dataset: int
    model: int
    seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a comparison needs to know before it trains anything.

    Parameters
    ----------
    seeds : of the networks that are trained here; one where none is
    trained : (dataset, model) -> the network, for those that were trained elsewhere
    patches : (dataset, model) -> the patch that the first layer sees: channels, rows, columns and
        the steps between rows and columns
    inputs : for each model, how its images are normalized, in words
    folds : (dataset, model) -> what is folded into the filters, for those that asked for it
    """

    datasets: list[Dataset]
    models: list[ModelSpec]
    seeds: list[int]
    recipe: Recipe
    device: torch.device
    trained: Mapping[tuple[int, int], TrainedModel]
    patches: Mapping[tuple[int, int], Patch]
    inputs: Sequence[str] = ()
    folds: Mapping[tuple[int, int], Folding] = field(default_factory=dict)

    @property
    def shape(self) -> Key:
        """The sizes of the dimensions dataset, model and seed."""
        return Key(len(self.datasets), len(self.models), len(self.seeds))

    @property
    def trains(self) -> bool:
        """Whether any network is trained here, or was and is read from the cache."""
        return len(self.trained) < len(self.datasets) * len(self.models)

    @property
    def keys(self) -> list[Key]:
        """All networks; one trained elsewhere stands at the first seed alone."""
        return [
            Key(d, m, s)
            for d in range(len(self.datasets))
            for m in range(len(self.models))
            for s in range(1 if (d, m) in self.trained else len(self.seeds))
        ]

    @property
    def trainings(self) -> dict[Key, Training]:
        """The networks that are trained here, or were and are read from the cache."""
        return {
            key: Training(
                self.models[key.model],
                self.datasets[key.dataset],
                self.seeds[key.seed],
                self.recipe,
                self.label(key),
            )
            for key in self.keys
            if (key.dataset, key.model) not in self.trained
        }

    def label(self, key: Key) -> str:
        """Return what to call a network; one that is given has no seed."""
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
    device: str,
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
    place = choose_device(device)
    how = parse_recipe(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(how, Recipe):
        raise UsageError(f"got a recipe of type {type(how).__name__}, expected a name or a Recipe")
    how = choose_precision(how, place)
    numbers = _as_seeds(seeds)
    specs = with_answers(as_models(registry, models), answer)
    sets = as_datasets(registry, datasets)
    labels = [spec.label for spec in specs]
    words, orders = for_each("fold", fold, labels, ""), for_each("channels", channels, labels, "")
    trained, patches, folds = {}, {}, {}
    for d, data in enumerate(sets):
        normalization_of(data.train)  # refuses empty, constant and infinite images
        for m, spec in enumerate(specs):
            built = build(spec, data, numbers[0])
            built = with_options(built, spec, data, words[m], orders[m])
            if isinstance(built, TrainedModel):
                trained[d, m] = built
            with nullcontext() if filters or (d, m) not in trained else suppress(UsageError):
                layer, patches[d, m] = _first(built, spec, data, filters)
                if isinstance(built, TrainedModel):
                    trained[d, m] = replace(built, layer=layer)
            word = built.fold if isinstance(built, TrainedModel) else words[m]
            if word and filters:
                image = (patches[d, m][0], *image_shape(data)[1:])
                folds[d, m] = folding_of(built, word, layer, image, spec.label)
        needed = {m: patches[d, m][0] for m in range(len(specs)) if (d, m) in patches}
        sets[d] = _seen_by(needed, specs, data)
        for m, spec in enumerate(specs):
            if (d, m) in trained:  # gray pictures may be left with one channel
                refuse_order(trained[d, m], spec, sets[d])
    plan = Plan(sets, specs, numbers, how, place, trained, patches, folds=folds)
    if not plan.trains:
        plan = replace(plan, seeds=numbers[:1])
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


def _first(
    built: nn.Module | TrainedModel, spec: ModelSpec, data: Dataset, filters: bool
) -> tuple[str, Patch]:
    """Return the name of the layer that gets the image, and the patch that it sees.

    Where filters are not compared, nothing is said of a network that cannot be run: that follows.
    """
    problem = several = ""
    module = built.module if isinstance(built, TrainedModel) else built
    if isinstance(built, TrainedModel) and (built.layer or not built.network):
        name, layer = named_layer(module, built.layer)
    else:
        name, layer, problem, several = first_layer(module, image_shape(data))
    if several and isinstance(built, TrainedModel):
        raise UsageError(
            f"several layers of '{spec.label}' get the image: {several}; name one of them with "
            "layer="
        )
    if several:
        _warn(f"several layers of '{spec.label}' get the image: {several}; compared is '{name}'")
    bank = applied_filters(module, name, image_shape(data))
    rows, columns = filter_dilation(layer, bank)
    c, kh, kw = bank[:, :, ::rows, ::columns].shape[1:]
    if problem and filters and isinstance(built, TrainedModel):  # of others their training says so
        _warn(
            f"'{spec.label}' cannot be run on the images ({problem}), so its first layer is taken "
            f"to be the first that it registers, '{name}'; name it with layer="
        )
    return name, (int(c), int(kh), int(kw), rows, columns)


def _warn(text: str) -> None:
    warnings.warn(text, RepsimWarning, stacklevel=6)


def _seen_by(needed: Mapping[int, int], specs: Sequence[ModelSpec], data: Dataset) -> Dataset:
    """Return the images for networks of so many channels each; of gray ones the one channel."""
    channels = data.train.images.shape[1]
    if set(needed.values()) == {1} and data.train.transform is None:
        gray = all(is_gray(images.images) for images in (data.train, data.test))
        if channels > 1 and gray:
            train, test = (select(images, gray=True) for images in (data.train, data.test))
            return replace(data, train=train, test=test)
    for m, c in needed.items():
        if c != channels:
            groups = "" if channels % c else ", or load it with arch= where it has groups"
            raise ShapeError(
                f"images of '{data.label}' have {channels} channels but the filters of "
                f"'{specs[m].label}' see {c}; use images with {c} channels or another model{groups}"
            )
    return data


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
            _, kh, kw, rows, columns = patch
            window = (rows * (kh - 1) + 1, columns * (kw - 1) + 1)
            basis = moments_of(images.images, window).every(rows, columns).basis()
            if images.transform is not None:
                basis = transform_basis(basis, images.transform)
            bases[images.image_fingerprint] = basis
    return [bases[data.train.image_fingerprint] for data in plan.datasets]


def _size(patch: Patch) -> str:
    c, kh, kw, rows, columns = patch
    return f"{kh}x{kw}x{c}" + (f" (dilated by {rows}x{columns})" if rows * columns > 1 else "")
