"""Train networks of one architecture, a seed each, as one batched network.

On a GPU a small network leaves most of the machine idle. Stacked along a new axis, the networks
take their steps together, each with its own images in its own order; nothing passes between them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from repsim_energy.errors import TrainingError
from repsim_energy.interfaces import ImageSet, Normalization
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.layers import applies_its_weight
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.numerics.generators import seeded
from repsim_energy.training.history import History, Record
from repsim_energy.training.inputs import as_input
from repsim_energy.training.loop import (
    batches,
    evaluate,
    hits_of,
    loss_of,
    optimizer_of,
    scores_of,
    set_step_size,
)
from repsim_energy.training.recipe import Recipe

__all__ = ["train_together"]

State = dict[str, Tensor]


def train_together(
    modules: Sequence[nn.Module],
    layer: str,
    images: ImageSet,
    test: ImageSet,
    normalization: Normalization,
    recipe: Recipe,
    seeds: Sequence[int],
    device: torch.device,
    norms: Sequence[Norm | None] = (),
    on_step: Callable[[], None] = lambda: None,
) -> list[History | TrainingError]:
    """Train networks in place and return the history of each, or why it has none.

    Each equals its training alone within rounding, apart from what networks draw themselves
    (dropout): that comes from one generator for all.

    Parameters
    ----------
    modules : of one architecture, a seed each
    layer : the name of the first layer, whose filters are kept along the way
    norms : for each network the batch norm that follows it, whose factors are kept too
    on_step : called after each step of all networks

    Raises
    ------
    RuntimeError
        For architectures that cannot be batched, or do not fit into memory together.
    """
    stack = _Stack(modules, recipe, device)
    pixels, labels = images.images.to(device), images.labels.to(device)
    records = [Record(recipe, len(images)) for _ in seeds]
    _, *image = images.images.shape

    def keep(i: int) -> None:
        filters = stack.filters(i, layer, image)
        records[i].keep(filters, stack.scale(i, norms[i] if norms else None))

    for i in range(len(seeds)):
        keep(i)
    outcomes: dict[int, History | TrainingError] = {}
    orders = zip(*(batches(len(images), recipe, seed) for seed in seeds), strict=True)
    with seeded(seeds[0], device):
        for done, chosen in enumerate(orders):
            batch = torch.stack(chosen).to(device)
            inputs = as_input(pixels[batch.flatten()], normalization, modules[0])
            size = recipe.step_size(done, records[0].total)
            losses, hits = stack.step(inputs.unflatten(0, batch.shape), labels[batch], size)
            on_step()
            for i in range(len(seeds)):
                if i in outcomes:
                    continue
                record = records[i]
                record.add(losses[i], hits[i])
                if record.wants_filters:
                    keep(i)
                if record.wants_evaluation and len(test):
                    found = evaluate(stack.network(i), test, normalization, device, recipe)
                    record.evaluations[record.steps] = found
                if outcome := _outcome(record):
                    outcomes[i] = outcome
                    stack.network(i).cpu()
            if len(outcomes) == len(seeds):
                break
    return [outcomes[i] for i in range(len(seeds))]


def _outcome(record: Record) -> History | TrainingError | None:
    """Return what came of a training that has ended; the others go on."""
    try:
        return record.history() if record.finished() else None
    except TrainingError as error:
        return error


class _Stack:
    """Networks of one architecture, their weights stacked along a first axis."""

    def __init__(self, modules: Sequence[nn.Module], recipe: Recipe, device: torch.device) -> None:
        self._modules = [module.to(device).train() for module in modules]
        self._base = copy.deepcopy(self._modules[0])
        self._weights, self._buffers = stack_module_state(list(self._modules))
        self._optimizer = optimizer_of(self._weights.values(), recipe)
        self._recipe = recipe

    def step(self, inputs: Tensor, target: Tensor, size: float) -> tuple[Tensor, Tensor]:
        """Take a step of a size on (s, b, c, h, w) images; return (s,) losses, shares of hits."""

        def answer(weights: State, buffers: State, images: Tensor) -> Any:
            found = functional_call(self._base, (weights, buffers), (images,))
            return scores_of(found, len(images))

        reduced = self._recipe.precision == "bfloat16"
        with torch.autocast(inputs.device.type, torch.bfloat16, reduced):
            batched = torch.vmap(answer, randomness="different")
            outputs = batched(self._weights, self._buffers, inputs)
            pairs = list(zip(outputs, target, strict=True))
            losses = torch.stack([loss_of(o, t, self._recipe) for o, t in pairs])
        set_step_size(self._optimizer, size)
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._optimizer.step()
        return losses.detach(), torch.stack([hits_of(o.detach(), t) for o, t in pairs])

    def filters(self, index: int, layer: str, image: Sequence[int]) -> Tensor:
        """Return the (k, c, kh, kw) filters of one network's layer."""
        first = self._base.get_submodule(layer)
        if not applies_its_weight(first) or first.in_channels != image[0]:
            return applied_filters(self.network(index), layer, image)
        weights: Tensor = self._weights[f"{layer}.weight"][index]
        return weights.detach().float().cpu().clone()

    def scale(self, index: int, norm: Norm | None) -> Tensor | None:
        """Return the (k,) factors of the batch norm of one network, which is one of its modules."""
        if norm is None:
            return None
        self.network(index)
        return norm.scale_or_nan()

    def network(self, index: int) -> nn.Module:
        """Return one of the networks with its weights as they are now."""
        state = {**self._weights, **self._buffers}
        self._modules[index].load_state_dict({k: v[index] for k, v in state.items()}, strict=False)
        return self._modules[index]
