"""What a comparison needs of each network: filters at every stage, or activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repsim_energy.comparison.labels import is_checkpoint, short_labels
from repsim_energy.comparison.listed import one_by_one
from repsim_energy.data.arrays import image_set_of, image_set_of_items
from repsim_energy.errors import DataError, ShapeError, TrainingError, UsageError
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec, Normalisation, TrainedModel
from repsim_energy.models.first_layer import named_layer
from repsim_energy.models.layers import real_filters
from repsim_energy.models.norms import Folding, folded
from repsim_energy.models.through import (
    applied_filters,
    filters_of_weights,
    mixes_channels,
    step_through,
)
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.registry import Registry, load_dataset, resolve_model
from repsim_energy.specs import write_spec
from repsim_energy.training.build import image_shape
from repsim_energy.training.loop import normalisation_of
from repsim_energy.training.run_cache import Run

__all__ = ["Network", "as_datasets", "as_models", "network_of_run", "network_of_trained"]

Array = Tensor | NDArray[Any]
ModelLike = str | Path | ModelSpec | nn.Module | TrainedModel | Array | Callable[..., nn.Module]
DatasetLike = str | Path | Dataset | ImageSet | Array | tuple[Array, Array]

NO_NETWORK = (
    "got a mapping of weights, expected a network; of a state_dict() hand over the module, the "
    "path of its file, or the weight of its first layer"
)

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
    snapshots : gradient step -> filters after it
    """

    filters: Mapping[str, Tensor]
    layer: str
    module: Callable[[], nn.Module]
    normalisation: Normalisation
    run: Run | None = None
    answer: str = ""
    snapshots: Mapping[int, Tensor] = field(default_factory=dict)

    def at(self, stage: str) -> Tensor | None:
        """Return the filters of a stage; ``change`` is trained minus init."""
        if stage != "change":
            return self.filters.get(stage)
        if "init" not in self.filters:
            return None
        return self.filters["trained"] - self.filters["init"]


def _without_holes(filters: Tensor, step: tuple[int, int]) -> Tensor:
    """Return (..., kh, kw) filters without the rows and columns that a dilated one does not see."""
    return filters[..., :: step[0], :: step[1]].contiguous()


def network_of_run(run: Run, step: tuple[int, int] = (1, 1), fold: bool = False) -> Network:
    """Return the network that a run trained.

    Parameters
    ----------
    step : that of its dilated filters
    fold : whether the batch norm that follows is folded into the filters at every stage

    Raises
    ------
    TrainingError
        Where that is asked for and something else followed when it was trained.
    """
    history, scales = run.history, run.history.snapshot_scales
    kept = {
        "init": (run.initial, None if scales is None else scales[0]),
        "trained": (run.trained, run.scale),
        "snapshots": (history.snapshots, scales),
    }
    filters = {}
    for name, (bank, scale) in kept.items():
        if fold and (scale is None or not bool(scale.isfinite().all())):
            raise TrainingError(
                f"no batch norm that can be folded followed '{run.layer}' while it was trained, "
                "expected one at every step; leave fold= out"
            )
        filters[name] = _without_holes(folded(bank, scale) if fold else bank, step)
    snapshots = filters.pop("snapshots")
    return Network(
        filters,
        run.layer,
        run.network,
        run.normalisation,
        run,
        snapshots=dict(zip(history.snapshot_steps.tolist(), snapshots, strict=True)),
    )


def network_of_trained(
    trained: TrainedModel, data: Dataset, folding: Folding | None = None
) -> Network:
    """Return a network that was trained elsewhere, its filters with what is folded into them."""
    try:
        layer, module = named_layer(trained.module, trained.layer)
        filters = applied_filters(trained.module, layer, image_shape(data))
        step = step_through(module, filters)
        stages = {"trained": _without_holes(filters, step)}
    except UsageError:  # compared by its activations: a plan of filters has refused it
        layer, stages, step = "", {}, (1, 1)
    if trained.initial is not None and stages:
        initial = _before_training(trained, layer, filters.shape, image_shape(data))
        stages["init"] = _without_holes(initial, step if initial.shape == filters.shape else (1, 1))
        if stages["init"].shape != stages["trained"].shape:
            raise ShapeError(
                f"layer '{layer}' applies filters {tuple(filters.shape)}, but those before "
                f"training are {tuple(initial.shape)}; expected what read_filters gave then"
            )
    if folding is not None:  # a stage whose factors are not known is none
        stages = {s: folded(stages[s], folding.scales[s]) for s in stages if s in folding.scales}
    given = trained.normalisation
    normalisation = given if isinstance(given, Normalisation) else normalisation_of(data.train)
    if trained.channels == "bgr":
        stages = {stage: filters.flip(1) for stage, filters in stages.items()}
        normalisation = replace(normalisation, reverse=True)
    return Network(stages, layer, lambda: trained.module, normalisation, answer=trained.answer)


def _before_training(
    trained: TrainedModel, layer: str, shape: torch.Size, image: Sequence[int]
) -> Tensor:
    """Return the filters of a layer before training: of the whole network then, or of weights."""
    if isinstance(trained.initial, nn.Module):
        return applied_filters(trained.initial, layer, image)
    assert trained.initial is not None
    initial = real_filters(trained.initial.detach(), layer).float()
    if initial.shape != shape or mixes_channels(trained.module, layer, image):
        return filters_of_weights(trained.module, layer, initial, image)
    return initial


def as_models(
    registry: Registry, models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike]
) -> list[ModelSpec]:
    """Return specs of what a user hands over; labels are unique.

    A string is a spec, or several with commas between; a module, a ``TrainedModel`` or a
    (k, c, kh, kw) array is a trained network; a callable is an architecture
    ``(num_classes, in_channels) -> Module``. One model need not stand in a list.
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
                raise UsageError(f"model '{label}' stands twice, expected each once")
            label = f"{label}#{len(specs)}"
        specs.append(replace(spec, label=label))
    return specs


def _is_state(given: Mapping[Any, Any]) -> bool:
    """Return whether these are all weights of a network, not the filters of several."""
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
    """Return spec -> label of the checkpoints that were not given one."""
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
            f"filters have shape {shape}, expected (k, c, kh, kw); hand over several banks as a "
            "list or a mapping"
        )
    if shape[0] == shape[1] < shape[3] and shape[2] <= 4 and shape[2] != shape[3]:
        raise ShapeError(
            f"filters have shape {shape}, which could be (kh, kw, c, k) of TensorFlow, expected "
            "(k, c, kh, kw); move their axes, transpose(3, 2, 0, 1), or hand over a Conv2d"
        )
    k, c, kh, kw = real_filters(weights, "filters").shape
    conv = nn.Conv2d(c, k, (kh, kw), bias=False, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(weights)
    return TrainedModel(nn.Sequential(conv), network=False)


def as_datasets(registry: Registry, data: DatasetLike | Sequence[DatasetLike]) -> list[Dataset]:
    """Return both splits of each data set that a user hands over; labels are unique.

    A list or tuple holds several data sets, with one exception: images followed by labels are
    one.
    """
    several = isinstance(data, Sequence) and not (isinstance(data, str) or _is_pair(data))
    given: Any = one_by_one(data if several else [data], "data set")
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
    if isinstance(data, Path):
        kind = "npz" if data.suffix.lower() == ".npz" and data.is_file() else "folder"
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
    return bool(labels) and all(isinstance(label, int | np.integer) for label in labels)
