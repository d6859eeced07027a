"""Train networks of one architecture, a seed each, as one batched network.

On a GPU a small network leaves most of the machine idle. Stacked along a new axis, the networks
take their steps together, each with its own images in its own order; nothing passes between them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from repsim_energy.errors import TrainingError
from repsim_energy.interfaces import ImageSet, Normalization
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.layers import applies_its_weight
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.numerics.generators import generator_states, restore_generators, seeded
from repsim_energy.training.augmentation import images_of_step
from repsim_energy.training.average import Average
from repsim_energy.training.history import History, Record
from repsim_energy.training.inputs import as_input, layouts_of
from repsim_energy.training.loop import (
    accuracy,
    batches,
    descend,
    evaluate,
    loss_of,
    optimizer_of,
    precision_of,
    scores_of,
)
from repsim_energy.training.network_state import attributes_of, restore_attributes
from repsim_energy.training.partial_run import PartialRun
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
    partial_run: PartialRun | None = None,
) -> list[History | TrainingError]:
    """Train networks in place and return the history of each, or its error.

    Each equals its training alone within rounding, apart from what networks draw themselves
    (dropout): that comes from one generator for all.

    Parameters
    ----------
    modules : of one architecture, a seed each
    layer : the name of the first layer, whose filters are recorded during training
    norms : for each network the batch norm that follows it, whose factors are recorded too
    on_step : called after each step of all networks
    partial_run : file from which the training goes on, and in which it is stored from time to time

    Raises
    ------
    RuntimeError
        For architectures that cannot be batched, or do not fit into memory together.
    """
    stack = _Stack(modules, recipe, device)
    pixels, labels = images.images.to(device), images.labels.to(device)
    records = [Record(recipe, len(images), len(test)) for _ in seeds]

    layout = layouts_of(modules[0])[0]
    numbered, image = enumerate(norms or [None] * len(seeds)), images.images.shape[1:]
    measures = [partial(stack.measure, i, layer, image, norm) for i, norm in numbered]

    def evaluated(i: int) -> tuple[float, float]:
        return evaluate(stack.network(i), test, normalization, device, recipe, layout)

    for record, measure in zip(records, measures, strict=True):
        record.keep(*measure())
    outcomes: dict[int, History | TrainingError] = {}
    orders = zip(*(batches(len(images), recipe, seed, device) for seed in seeds), strict=True)
    with seeded(seeds[0], device):
        state = None if partial_run is None else partial_run.read(stack.tensors(), layout)
        done = 0 if state is None else stack.restore(state, records)
        for i in range(len(seeds) if done else 0):
            if outcome := _outcome(records[i]):
                outcomes[i] = outcome
        for chosen in islice(orders, done, None):
            if len(outcomes) == len(seeds):
                break
            batch = torch.stack(chosen)
            seen = images_of_step(pixels, batch.flatten(), recipe, seeds, done)
            inputs = as_input(seen, normalization, modules[0], layout)
            size = recipe.step_size(done, records[0].total)
            found = stack.step(inputs.unflatten(0, batch.shape), labels[batch], size)
            losses, shares = (values.unbind() for values in found)
            done += 1
            on_step()
            for i in (i for i in range(len(seeds)) if i not in outcomes):
                records[i].add(losses[i], shares[i], measures[i], partial(evaluated, i))
                if outcome := _outcome(records[i]):
                    outcomes[i] = outcome
                    stack.network(i).cpu()
            ended = len(outcomes) == len(seeds)  # stored too: the runs are, one after the other
            if partial_run is not None and (ended or partial_run.is_due()):
                longest = max(records, key=lambda record: record.steps)
                partial_run.write(stack.state(records, outcomes), longest, layout)
    return [outcomes[i] for i in range(len(seeds))]


def _outcome(record: Record) -> History | TrainingError | None:
    """Return the result of a training that has ended, ``None`` of one that continues."""
    try:
        return record.history() if record.finished() else None
    except TrainingError as error:
        return error


class _Stack:
    """Networks of one architecture, their weights stacked along a first axis."""

    def __init__(self, modules: Sequence[nn.Module], recipe: Recipe, device: torch.device) -> None:
        self._modules = [module.to(device).train() for module in modules]
        self._base = copy.deepcopy(self._modules[0])
        weights, buffers = stack_module_state(list(self._modules))
        self._weights, self._buffers = weights, buffers
        self._optimizer = optimizer_of(self._base, recipe, self._weights)
        self._average = Average(
            lambda: {**weights, **buffers}, recipe.ema
        )  # no circle of references
        self._recipe, self._device = recipe, device

    def step(self, inputs: Tensor, target: Tensor, size: float) -> tuple[Tensor, Tensor]:
        """Take a step on (s, b, c, h, w) images; return (s,) losses and accuracies before it."""

        def answer(
            weights: State, buffers: State, images: Tensor, labels: Tensor
        ) -> tuple[Tensor, Tensor]:
            found = functional_call(self._base, (weights, buffers), (images,))
            output = scores_of(found, len(images))
            return loss_of(output, labels, self._recipe), accuracy(output.detach(), labels)

        with precision_of(self._recipe, inputs.device):
            batched = torch.vmap(answer, randomness="different")
            losses, shares = batched(self._weights, self._buffers, inputs, target)
        descend(self._optimizer, losses.sum(), size)
        self._average.add()
        return losses.detach(), shares

    def measure(
        self, index: int, layer: str, image: Sequence[int], norm: Norm | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the filters of one network's layer, and the factors of its batch norm."""
        first = self._base.get_submodule(layer)
        if not applies_its_weight(first) or first.in_channels != image[0]:
            filters = applied_filters(self.network(index), layer, image)
        else:
            weights: Tensor = self._measured()[f"{layer}.weight"][index]
            filters = weights.detach().float().cpu().clone()
        if norm is None:
            return filters, None
        self.network(index)  # which has the batch norm
        return filters, norm.scale_or_nan()

    def tensors(self) -> State:
        """Return the weights and buffers of all networks."""
        return {**self._weights, **self._buffers}

    def _measured(self) -> State:
        """Return those of the networks that are measured and stored: the average, if any."""
        return {**self.tensors(), **self._average.tensors()}

    def state(self, records: Sequence[Record], ended: Collection[int]) -> dict[str, Any]:
        """Return the state of the training between two steps.

        Parameters
        ----------
        ended : networks whose training has ended, which remain as they were then
        """
        return {
            "module": self.tensors(),
            "attributes": attributes_of(self._base),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state(),
            "records": [record.state() for record in records],
            "ended": {i: self._modules[i].state_dict() for i in ended},
            "generators": generator_states(self._device),
        }

    def restore(self, state: Mapping[str, Any], records: Sequence[Record]) -> int:
        """Put a training that has not taken a step into a state; return its number of steps."""
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(state["module"][name])
        restore_attributes(self._base, state["attributes"], self._device)
        self._optimizer.load_state_dict(state["optimizer"])
        self._average.restore(state.get("average"))
        for record, known in zip(records, state["records"], strict=True):
            record.restore(known, self._device)
        for i, weights in state["ended"].items():
            self._modules[i].load_state_dict(weights)
            self._modules[i].cpu()
        restore_generators(state["generators"], self._device)
        return max(record.steps for record in records)

    def network(self, index: int) -> nn.Module:
        """Return one of the networks as it is measured now."""
        state = {name: tensor[index] for name, tensor in self._measured().items()}
        self._modules[index].load_state_dict(state, strict=False)
        return self._modules[index]
