"""What a comparison needs of each network: filters at every stage, or activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec, Normalisation, TrainedModel
from repsim_energy.models.layers import find_layer, read_filters
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.registry import Registry, load_dataset, resolve_model
from repsim_energy.training.kept import Run
from repsim_energy.training.loop import normalisation_of

__all__ = ["Network", "as_datasets", "as_models", "network_of_run", "network_of_trained"]

Array = Tensor | NDArray[Any]
ModelLike = str | ModelSpec | nn.Module | Array | Callable[..., nn.Module]
DatasetLike = str | Dataset | ImageSet | Array | tuple[Array, Array]

UNNAMED = "images"
"""What images that come without a name are called in results."""


@dataclass(frozen=True, eq=False)
class Network:
    """One network: what is known of its first layer and its training.

    Parameters
    ----------
    filters : stage -> (k, c, kh, kw); ``init`` is missing where it is not known
    layer : where the filters were read
    module : gives the trained network, which may have to be read from the cache
    normalisation : of its input
    run : its training, where the toolkit trained it
    answer : which entry of what it answers is its answer
    """

    filters: Mapping[str, Tensor]
    layer: str
    module: Callable[[], nn.Module]
    normalisation: Normalisation
    run: Run | None = None
    answer: str = ""

    @property
    def snapshots(self) -> dict[int, Tensor]:
        """Gradient step -> filters after it."""
        if self.run is None:
            return {}
        kept = self.run.filters
        return dict(zip(kept["snapshot_steps"].tolist(), kept["snapshots"], strict=True))

    def at(self, stage: str) -> Tensor | None:
        """Return the filters of a stage; ``change`` is trained minus init."""
        if stage != "change":
            return self.filters.get(stage)
        if "init" not in self.filters:
            return None
        return self.filters["trained"] - self.filters["init"]


def network_of_run(run: Run, spec: ModelSpec, data: Dataset, seed: int) -> Network:
    """Return the network that a run trained."""
    stages = {stage: run.filters[stage] for stage in ("init", "trained")}
    return Network(
        stages,
        run.layer,
        lambda: run.network(spec, data, seed),
        run.normalisation,
        run,
    )


def network_of_trained(trained: TrainedModel, data: Dataset) -> Network:
    """Return a network that was trained elsewhere."""
    try:
        layer, conv = find_layer(trained.module, trained.layer)
        stages = {"trained": read_filters(conv)}
    except UsageError:  # compared by its activations: a plan of filters has refused it
        layer, stages = "", {}
    if trained.initial is not None:
        stages["init"] = trained.initial.detach().float()
    given = trained.normalisation
    normalisation = given if isinstance(given, Normalisation) else normalisation_of(data.train)
    return Network(stages, layer, lambda: trained.module, normalisation, answer=trained.answer)


def as_models(
    registry: Registry, models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike]
) -> list[ModelSpec]:
    """Return specs of what a user hands over; labels are unique.

    A string is a spec, a module or a (k, c, kh, kw) array is a trained network, a callable is an
    architecture ``(num_classes, in_channels) -> Module``. One model need not stand in a list.
    """
    alone = isinstance(models, str | ModelSpec | Tensor | np.ndarray) or callable(models)
    given: Any = [models] if alone and not isinstance(models, nn.ModuleList) else models
    if not isinstance(given, Iterable) or isinstance(given, Set):  # a set has no order
        raise UsageError(f"got models of type {type(given).__name__}, expected a list of models")
    named = given.items() if isinstance(given, Mapping) else [(None, model) for model in given]
    specs: list[ModelSpec] = []
    for name, model in named:
        if name is not None and not isinstance(name, str):
            raise UsageError(
                f"got the label {name!r} of type {type(name).__name__}, expected a text that names "
                "the model in the result"
            )
        spec = _as_model(registry, model, name)
        if any(spec.label == other.label for other in specs):
            if isinstance(model, str):
                raise UsageError(f"model '{spec.label}' stands twice, expected each once")
            spec = replace(spec, label=f"{spec.label}#{len(specs)}")
        specs.append(spec)
    if not specs:
        raise UsageError("got no models, expected at least one such as vgg11")
    return specs


def _as_model(registry: Registry, model: ModelLike, name: str | None) -> ModelSpec:
    if isinstance(model, str):
        spec = resolve_model(registry, model)
        return replace(spec, label=name or model)
    if isinstance(model, ModelSpec):
        return replace(model, label=name or model.label)
    if isinstance(model, nn.Module):
        taken = TrainedModel(model)
        return ModelSpec(name or type(model).__name__, lambda *_: taken, None)
    if isinstance(model, np.ndarray):
        model = tensor_of(model)
    if isinstance(model, Tensor):
        return ModelSpec(name or "filters", lambda *_, weights=model: _bank(weights), None)
    if callable(model):
        return ModelSpec(name or str(getattr(model, "__name__", "model")), model, None)
    raise UsageError(
        f"got a model of type {type(model).__name__}, expected a name, a torch.nn.Module, "
        "filters (k, c, kh, kw) or a function that builds a module"
    )


def _bank(weights: Tensor) -> TrainedModel:
    if weights.ndim != 4:
        raise ShapeError(f"filters have shape {tuple(weights.shape)}, expected (k, c, kh, kw)")
    k, c, kh, kw = weights.shape
    conv = nn.Conv2d(c, k, (kh, kw), bias=False, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(weights)
    return TrainedModel(nn.Sequential(conv), network=False)


def as_datasets(registry: Registry, data: DatasetLike | Sequence[DatasetLike]) -> list[Dataset]:
    """Return both splits of each data set that a user hands over; labels are unique.

    A list or tuple holds several data sets, with one exception: images (n, c, h, w) followed by
    labels (n,) are one.
    """
    several = isinstance(data, Sequence) and not (isinstance(data, str) or _is_pair(data))
    given: Any = data if several else [data]
    sets: list[Dataset] = []
    for one in given:
        found = _as_dataset(registry, one)
        if any(found.label == other.label for other in sets):
            if found.label != UNNAMED:
                raise UsageError(
                    f"data set '{found.label}' stands twice, expected each once; images in memory "
                    "are told apart by the name of their ImageSet"
                )
            found = replace(found, label=f"{UNNAMED}#{len(sets)}")
        sets.append(found)
    if not sets:
        raise UsageError("got no data sets, expected at least one such as cifar10")
    return sets


def _as_dataset(registry: Registry, data: Any) -> Dataset:
    if isinstance(data, str):
        return load_dataset(registry, data)
    if isinstance(data, Tensor | np.ndarray):
        data = _unnamed(data)
    elif _is_pair(data):
        data = _unnamed(*data)
    if isinstance(data, ImageSet):
        empty = replace(data, images=data.images[:0], labels=data.labels[:0])
        data = Dataset(data.name, data, empty)
    if not isinstance(data, Dataset):
        raise UsageError(
            f"got a data set of type {type(data).__name__}, expected a name, an ImageSet, images "
            "(n, c, h, w), or a pair (images, labels) of arrays"
        )
    if problem := data.train.problem() or data.test.problem():
        raise DataError(f"data set '{data.label}': {problem}; convert or correct them")
    return data


def _is_pair(data: Any) -> bool:
    """Return whether these are images (n, c, h, w) and labels (n,)."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        return False
    arrays = [part for part in data if isinstance(part, Tensor | np.ndarray)]
    return [array.ndim for array in arrays] == [4, 1]


def _unnamed(images: Array, labels: Array | None = None) -> ImageSet:
    """Return images that come without a name; without labels they are all of one class."""
    pixels = _tensor(images)
    if pixels.ndim != 4:
        raise ShapeError(
            f"images have shape {tuple(pixels.shape)}, expected (n, c, h, w), or a pair "
            "(images, labels) with one label per image, (n,)"
        )
    if labels is None:
        labels = np.zeros(len(pixels), dtype=np.int64)
    numbers = _tensor(labels)
    if numbers.is_floating_point() or numbers.is_complex():
        raise DataError(f"labels are {numbers.dtype}, expected whole numbers; convert them")
    numbers = numbers.to(torch.int64)
    highest = max(0, int(numbers.max())) if len(numbers) else 0
    return ImageSet(pixels, numbers, tuple(str(i) for i in range(highest + 1)), UNNAMED)


def _tensor(array: Array) -> Tensor:
    return array if isinstance(array, Tensor) else tensor_of(array)
