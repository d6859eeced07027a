"""Conversion of the models and data sets that users pass to specs and data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repsim_energy.comparison.labels import is_checkpoint, short_labels
from repsim_energy.comparison.listed import one_by_one
from repsim_energy.data.arrays import image_set_of, image_set_of_items
from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.interfaces import Dataset, ImageSet, Metric, ModelSpec, TrainedModel
from repsim_energy.models.filters.layers import real_filters
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.registry import Registry, load_dataset, resolve_model
from repsim_energy.registry.dataset_paths import kind_of
from repsim_energy.specs import write_spec

__all__ = ["DatasetLike", "ModelLike", "are_features", "as_datasets", "as_models"]

Array = Tensor | NDArray[Any]
ModelLike = str | Path | ModelSpec | nn.Module | TrainedModel | Array | Callable[..., nn.Module]
DatasetLike = str | Path | Dataset | ImageSet | Array | tuple[Array, Array]

NO_NETWORK = (
    "got a mapping of weights, expected a network; instead of its state_dict() pass the module, "
    "the path of its file, or the weight of its first layer"
)

UNNAMED = "images"
"""Label in results of images that have no name."""


def as_models(
    registry: Registry, models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike]
) -> list[ModelSpec]:
    """Return a spec for each model that a user passes, with unique labels.

    A string is a spec, or several separated by commas; a module, a ``TrainedModel`` or a
    (k, c, kh, kw) array is a trained network; a callable is an architecture
    ``(num_classes, in_channels) -> Module``. A single model needs no list.
    """
    single = str | Path | ModelSpec | TrainedModel | Tensor | np.ndarray
    alone = isinstance(models, single) or callable(models)
    listed = isinstance(models, nn.ModuleList)
    given: Any = one_by_one([models] if alone and not listed else models, "model")
    if not isinstance(given, Iterable) or isinstance(given, Set):  # a set has no order
        raise UsageError(f"got models of type {type(given).__name__}, expected a list of models")
    if isinstance(given, Mapping) and _is_state(given):
        raise UsageError(NO_NETWORK)
    named = given.items() if isinstance(given, Mapping) else [(None, model) for model in given]
    found = [(_as_model(registry, model, _label(name)), model) for name, model in named]
    if not found:
        raise UsageError("got no models, expected at least one such as vgg11")
    short = _short_labels([spec for spec, _ in found])
    specs: list[ModelSpec] = []
    for spec, model in found:
        label = short.get(spec.spec, spec.label) if spec.label == spec.spec else spec.label
        if any(label == other.label for other in specs):
            if isinstance(model, str | Path):
                raise UsageError(f"model '{label}' is listed twice, expected each once")
            label = f"{label}#{len(specs)}"
        specs.append(replace(spec, label=label))
    return specs


def _is_state(given: Mapping[Any, Any]) -> bool:
    """Return whether a mapping is the state of one network, not the filters of several."""
    values = list(given.values())
    weights = bool(values) and all(isinstance(value, Tensor) for value in values)
    return weights and any(value.ndim < 4 for value in values)


def _label(name: Any) -> str | None:
    if name is not None and not isinstance(name, str):
        raise UsageError(
            f"got the label {name!r} of type {type(name).__name__}, expected a text that names "
            "the model in the result"
        )
    return name


def _short_labels(specs: Sequence[ModelSpec]) -> dict[str, str]:
    """Return spec -> label for the checkpoints without a label of their own."""
    unnamed = [one.spec for one in specs if one.label == one.spec and is_checkpoint(one.spec)]
    taken = {one.label for one in specs if one.label != one.spec or one.spec not in unnamed}
    return dict(zip(unnamed, short_labels(unnamed, taken), strict=True))


def _as_model(registry: Registry, model: ModelLike, name: str | None) -> ModelSpec:
    if isinstance(model, Path):
        model = write_spec("checkpoint", path=model)
    if isinstance(model, str):
        spec = resolve_model(registry, model)
        if name and spec.label != spec.spec:
            raise UsageError(
                f"model '{model}' got the label '{name}' too, expected one; leave one of them out"
            )
        return replace(spec, label=name or spec.label)
    if isinstance(model, ModelSpec):
        return replace(model, label=name or model.label)
    if isinstance(model, nn.Module | TrainedModel):
        taken = model if isinstance(model, TrainedModel) else TrainedModel(model)
        return ModelSpec(name or type(taken.module).__name__, lambda *_: taken, None)
    if isinstance(model, np.ndarray):
        model = tensor_of(model)
    if isinstance(model, Tensor):
        return ModelSpec(name or "filters", lambda *_, weights=model: _bank(weights), None)
    if callable(model):
        return ModelSpec(name or str(getattr(model, "__name__", "model")), model, None)
    if isinstance(model, Mapping):
        raise UsageError(NO_NETWORK)
    raise UsageError(
        f"got a model of type {type(model).__name__}, expected a name, a torch.nn.Module, "
        "filters (k, c, kh, kw) or a function that builds a module"
    )


def _bank(weights: Tensor) -> TrainedModel:
    shape = tuple(weights.shape)
    if weights.ndim != 4:
        raise ShapeError(
            f"filters have shape {shape}, expected (k, c, kh, kw); pass several banks as a "
            "list or a mapping"
        )
    if shape[0] == shape[1] < shape[3] and shape[2] <= 4 and shape[2] != shape[3]:
        raise ShapeError(
            f"filters have shape {shape}, which could be (kh, kw, c, k) of TensorFlow, expected "
            "(k, c, kh, kw); move their axes, transpose(3, 2, 0, 1), or pass a Conv2d"
        )
    k, c, kh, kw = real_filters(weights, "filters").shape
    conv = nn.Conv2d(c, k, (kh, kw), bias=False, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(weights)
    return TrainedModel(nn.Sequential(conv), network=False)


def are_features(specs: Sequence[ModelSpec], metric: Metric) -> bool:
    """Return whether the models are features from files.

    Raises
    ------
    UsageError
        For features beside networks, and for a metric on filters.
    """
    files = [spec for spec in specs if (spec.identity or {}).get("name") == "features"]
    others = [spec for spec in specs if spec not in files]
    if files and others:
        raise UsageError(
            f"got features from a file, '{files[0].label}', beside '{others[0].label}', expected "
            "features alone: the images that a network is shown here have no ids; save the "
            "features of that network for the same samples"
        )
    if files and metric.operates_on == "filters":
        raise UsageError(
            f"got features from a file, '{files[0].label}', which have no filters, expected a "
            f"metric on activations; '{metric.name}' compares filters, take metric=cka"
        )
    return bool(files)


def as_datasets(registry: Registry, data: DatasetLike | Sequence[DatasetLike]) -> list[Dataset]:
    """Return both splits of each data set that a user passes, with unique labels.

    A list or tuple contains several data sets, except that (images, labels) is one.
    """
    several = isinstance(data, Sequence) and not (isinstance(data, str) or _is_pair(data))
    given: Any = one_by_one(data if several else [data], "data set")
    sets: list[Dataset] = []
    for one in given:
        found = _as_dataset(registry, one)
        if any(found.label == other.label for other in sets):
            if found.label != UNNAMED:
                raise UsageError(
                    f"data set '{found.label}' is listed twice, expected each once; give images in "
                    "memory different names, ImageSet(name=)"
                )
            found = replace(found, label=f"{UNNAMED}#{len(sets)}")
        sets.append(found)
    if not sets:
        raise UsageError("got no data sets, expected at least one such as cifar10")
    return sets


def _as_dataset(registry: Registry, data: Any) -> Dataset:
    if isinstance(data, Path):
        kind = kind_of(data) or "folder"
        return replace(load_dataset(registry, write_spec(kind, path=data)), label=data.name)
    if isinstance(data, str):
        return load_dataset(registry, data)
    if isinstance(data, Tensor | np.ndarray):
        data = image_set_of(data, name=UNNAMED)
    elif _is_pair(data):
        data = image_set_of(*data, name=UNNAMED)
    elif isinstance(data, torch.utils.data.Dataset | torch.utils.data.DataLoader):
        data = image_set_of_items(data)
    if isinstance(data, ImageSet):
        empty = replace(data, images=data.images[:0], labels=data.labels[:0])
        data = Dataset(data.name, data, empty)
    if not isinstance(data, Dataset):
        raise UsageError(
            f"got a data set of type {type(data).__name__}, expected a name, an ImageSet, images "
            "(n, c, h, w), a pair (images, labels), or a torch Dataset or DataLoader"
        )
    for split in (data.train, data.test):
        if not isinstance(split, ImageSet):
            raise UsageError(
                f"data set '{data.label}' has a split of type {type(split).__name__}, expected an "
                "ImageSet, without images where there is no such split"
            )
    if problem := data.train.problem() or data.test.problem():
        raise DataError(f"data set '{data.label}': {problem}; convert or correct them")
    return data


def _is_pair(data: Any) -> bool:
    """Return whether these are images, an array of three axes or more, and their labels."""
    if not isinstance(data, list | tuple) or len(data) != 2:
        return False
    images, labels = data
    if isinstance(images, Tensor | np.ndarray) and isinstance(labels, Tensor | np.ndarray):
        column = labels.ndim == 1 or labels.ndim == 2  # (n,), (n, 1) or one-hot
        return images.ndim in (3, 4) and column
    if not isinstance(images, Tensor | np.ndarray | list) or not isinstance(labels, list):
        return False
    array = isinstance(images, Tensor | np.ndarray)  # beside which texts can be but labels
    kinds = int | float | str | np.generic if array else int | np.integer
    return bool(labels) and all(isinstance(label, kinds) for label in labels)
