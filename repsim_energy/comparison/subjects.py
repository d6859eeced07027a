"""What a comparison needs of each network: filters at every stage, or activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec, Normalisation, TrainedModel
from repsim_energy.models.layers import find_layer, read_filters
from repsim_energy.registry import Registry, load_dataset, resolve_model
from repsim_energy.training.kept import Run
from repsim_energy.training.loop import normalisation_of

__all__ = ["Network", "as_dataset", "as_models", "network_of_run", "network_of_trained"]

ModelLike = str | ModelSpec | nn.Module | Tensor | Callable[..., nn.Module]
DatasetLike = str | Dataset | ImageSet | Tensor | tuple[Tensor, Tensor]


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
    """

    filters: Mapping[str, Tensor]
    layer: str
    module: Callable[[], nn.Module]
    normalisation: Normalisation
    run: Run | None = None

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
    layer, conv = find_layer(trained.module, trained.layer)
    stages = {"trained": read_filters(conv)}
    if trained.initial is not None:
        stages["init"] = trained.initial.detach().float()
    return Network(
        stages, layer, lambda: trained.module, trained.normalisation or normalisation_of(data.train)
    )


def as_models(
    registry: Registry, models: Sequence[ModelLike] | Mapping[str, ModelLike]
) -> list[ModelSpec]:
    """Return specs of what a user hands over; labels are unique.

    A string is a spec, a module or a (k, c, kh, kw) tensor is a trained network, a callable is an
    architecture ``(num_classes, in_channels) -> Module``.
    """
    named = models.items() if isinstance(models, Mapping) else [(None, m) for m in models]
    specs: list[ModelSpec] = []
    for name, model in named:
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
        return model
    if isinstance(model, nn.Module):
        taken = TrainedModel(model)
        return ModelSpec(name or type(model).__name__, lambda *_: taken, None)
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
    conv = nn.Conv2d(c, k, (kh, kw), bias=False)
    with torch.no_grad():
        conv.weight.copy_(weights)
    return TrainedModel(nn.Sequential(conv), network=False)


def as_dataset(registry: Registry, data: DatasetLike) -> Dataset:
    """Return both splits of what a user hands over: a spec, images, or (images, labels)."""
    if isinstance(data, str):
        return load_dataset(registry, data)
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Tensor):
        data = (data, torch.zeros(len(data), dtype=torch.int64))
    if isinstance(data, tuple):
        images, labels = data
        highest = int(labels.max()) if len(labels) else 0
        data = ImageSet(images, labels, tuple(str(i) for i in range(highest + 1)), "images")
    if not isinstance(data, ImageSet):
        raise UsageError(
            f"got a data set of type {type(data).__name__}, expected a name, an ImageSet or tensors"
        )
    empty = ImageSet(data.images[:0], data.labels[:0], data.classes, data.name)
    return Dataset(data.name, data, empty)
