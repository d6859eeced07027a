"""One network of a comparison: its filters at every stage, and how to get it whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from repsim_energy.errors import ShapeError, TrainingError, UsageError
from repsim_energy.interfaces import Dataset, Normalization, TrainedModel
from repsim_energy.models.filters.applied_filters import (
    applied_filters,
    filter_dilation,
    filters_from_weights,
    mixes_channels,
)
from repsim_energy.models.filters.first_layer import named_layer
from repsim_energy.models.filters.layers import real_filters
from repsim_energy.models.filters.norm_folding import Folding, scale_filters
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.run_cache import Run

__all__ = ["Network", "network_of_run", "network_of_trained", "seen_image"]


@dataclass(frozen=True, eq=False)
class Network:
    """One network of a comparison, with the filters of its first layer.

    Parameters
    ----------
    filters : stage -> (k, c, kh, kw); ``init`` is missing if it is not known
    layer : name of the first layer
    module : returns the trained network, which may be read from the run cache
    normalization : of its input
    run : its training, if it was trained here
    answer : the entry of its output that is used, if it returns several tensors
    snapshots : gradient step -> filters after it
    """

    filters: Mapping[str, Tensor]
    layer: str
    module: Callable[[], nn.Module]
    normalization: Normalization
    run: Run | None = None
    answer: str = ""
    snapshots: Mapping[int, Tensor] = field(default_factory=dict)

    def at(self, stage: str) -> Tensor | None:
        """Return the filters of a stage, where ``change`` is trained minus init."""
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
    step : of its dilated filters
    fold : whether to fold the batch norm that follows into the filters at every stage

    Raises
    ------
    TrainingError
        If something else than a batch norm followed during training.
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
        filters[name] = _without_holes(scale_filters(bank, scale) if fold else bank, step)
    snapshots = filters.pop("snapshots")
    return Network(
        filters,
        run.layer,
        run.network,
        run.normalization,
        run,
        snapshots=dict(zip(history.snapshot_steps.tolist(), snapshots, strict=True)),
    )


def seen_image(trained: TrainedModel, data: Dataset) -> tuple[int, int, int]:
    """Return channels, rows and columns of the images that a given network takes."""
    c, h, w = data.image_shape
    return (1 if trained.channels == "luma" else c), h, w


def network_of_trained(
    trained: TrainedModel, data: Dataset, folding: Folding | None = None
) -> Network:
    """Return a network that was trained elsewhere, its filters with what is folded into them."""
    image = seen_image(trained, data)
    try:
        layer, module = named_layer(trained.module, trained.layer)
        filters = applied_filters(trained.module, layer, image)
        step = filter_dilation(module, filters)
        stages = {"trained": _without_holes(filters, step)}
    except UsageError:  # compared by its activations: a plan of filters has refused it
        layer, stages, step = "", {}, (1, 1)
    if trained.initial is not None and stages:
        initial = _before_training(trained.initial, trained.module, layer, filters.shape, image)
        stages["init"] = _without_holes(initial, step if initial.shape == filters.shape else (1, 1))
        if stages["init"].shape != stages["trained"].shape:
            raise ShapeError(
                f"layer '{layer}' applies filters {tuple(filters.shape)}, but those before "
                f"training are {tuple(initial.shape)}; expected what read_filters gave then"
            )
    if folding is not None:  # a stage whose factors are not known is none
        stages = {
            s: scale_filters(stages[s], folding.scales[s]) for s in stages if s in folding.scales
        }
    given = trained.normalization
    normalization = given if isinstance(given, Normalization) else normalization_of(data.train)
    if trained.channels == "bgr":
        stages = {stage: filters.flip(1) for stage, filters in stages.items()}
        normalization = replace(normalization, reverse=True)
    return Network(stages, layer, lambda: trained.module, normalization, answer=trained.answer)


def _before_training(
    initial: Tensor | nn.Module,
    module: nn.Module,
    layer: str,
    shape: torch.Size,
    image: Sequence[int],
) -> Tensor:
    """Return the filters that a layer of a trained network had before training.

    Parameters
    ----------
    initial : the weights of the layer before training, or the whole network then
    """
    if isinstance(initial, nn.Module):
        return applied_filters(initial, layer, image)
    weights = real_filters(initial.detach(), layer).float()
    if weights.shape != shape or mixes_channels(module, layer, image):
        return filters_from_weights(module, layer, weights, image)
    return weights
