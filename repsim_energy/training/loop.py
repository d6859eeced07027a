"""Training loop: all images on the device, without synchronization inside an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ImageSet, Normalization
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.numerics.generators import seeded
from repsim_energy.training.answers import answered
from repsim_energy.training.augmentation import images_of_step
from repsim_energy.training.average import Average, tensors_of
from repsim_energy.training.history import History, Record
from repsim_energy.training.inputs import CHANNELS_LAST, as_input
from repsim_energy.training.network_state import restore_network, state_of_network
from repsim_energy.training.partial_run import PartialRun
from repsim_energy.training.recipe import Recipe

__all__ = [
    "accuracy",
    "batches",
    "descend",
    "evaluate",
    "loss_of",
    "names_without_decay",
    "optimizer_of",
    "precision_of",
    "scores_of",
    "take_step",
    "train",
]

EVALUATION_BATCH = 250
CPU = torch.device("cpu")

OnStep = Callable[[int, int], None]
"""Called with the number of steps done and of steps planned."""


def train(
    module: nn.Module,
    layer: str,
    images: ImageSet,
    test: ImageSet,
    normalization: Normalization,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    on_step: OnStep | None = None,
    layout: torch.memory_format = CHANNELS_LAST,
    norm: Norm | None = None,
    partial: PartialRun | None = None,
) -> History:
    """Train a network in place and return its history.

    Parameters
    ----------
    layer : the name of the first layer, whose filters are recorded during training
    test : images for evaluations during training, never trained on
    seed : of the order of the images, and of random numbers that the network draws
    norm : the batch norm that follows the layer, whose factors are recorded too
    partial : file from which the training goes on, and in which it is stored from time to time
    """
    module.to(device, memory_format=layout).train()  # type: ignore[call-overload]
    pixels, labels = images.images.to(device), images.labels.to(device)
    optimizer = optimizer_of(module, recipe)
    average = Average(lambda: tensors_of(module), recipe.ema)
    record = Record(recipe, len(images), len(test))
    _, *image = images.images.shape

    def measure() -> tuple[Tensor, Tensor | None]:
        with average.in_place():
            scale = None if norm is None else norm.scale_or_nan()
            return applied_filters(module, layer, image), scale

    def evaluated() -> tuple[float, float]:
        with average.in_place():
            found = evaluate(module, test, normalization, device, recipe, layout)
        module.train()
        return found

    record.keep(*measure())
    with seeded(seed, device):
        state = None if partial is None else partial.read(module.state_dict(), layout)
        if state is not None:
            restore_network(state, module, optimizer, average, record, device)
        for batch in islice(batches(len(images), recipe, seed, device), record.steps, None):
            seen = images_of_step(pixels, batch, recipe, [seed], record.steps)
            inputs = as_input(seen, normalization, module, layout)
            size = recipe.step_size(record.steps, record.total)
            step = take_step(module, optimizer, inputs, labels[batch], recipe, size)
            average.add()
            record.add(*step, measure, evaluated)
            if on_step is not None:
                on_step(record.steps, record.total)
            if record.finished():
                break
            if partial is not None and partial.is_due():
                state = state_of_network(module, optimizer, average, record, device)
                partial.write(state, record, layout)
    average.put()
    return record.history()


def take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    target: Tensor,
    recipe: Recipe,
    size: float,
) -> tuple[Tensor, Tensor]:
    """Take one step of gradient descent; return loss and accuracy on the batch before it."""
    with precision_of(recipe, inputs.device):
        output = scores_of(module(inputs), len(inputs))
        loss = loss_of(output, target, recipe)
    descend(optimizer, loss, size)
    return loss.detach(), accuracy(output.detach(), target)


def precision_of(recipe: Recipe, device: torch.device) -> torch.autocast:
    """Return the context in which a recipe computes scores and loss."""
    return torch.autocast(device.type, torch.bfloat16, recipe.precision == "bfloat16")


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, size: float) -> None:
    """Change the weights of an optimizer by the gradient of a loss, with a step size."""
    for group in optimizer.param_groups:
        group["lr"] = size
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def batches(images: int, recipe: Recipe, seed: int, device: torch.device = CPU) -> Iterator[Tensor]:
    """Yield the (b,) indices of the images of each step endlessly, each epoch in a new order.

    They are drawn on the CPU, and copied to the device once for each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(recipe.batch, images)
    while True:
        order = torch.randperm(images, generator=generator).to(device)
        for start in range(0, images - size + 1, size):
            yield order[start : start + size]


def optimizer_of(
    module: nn.Module, recipe: Recipe, weights: Mapping[str, Tensor] | None = None
) -> torch.optim.Optimizer:
    """Return the recipe's optimizer for the parameters that are not frozen.

    Parameters
    ----------
    weights : in place of the parameters of the network, by their names
    """
    named = dict(module.named_parameters()) if weights is None else weights
    trained = {name: weight for name, weight in named.items() if weight.requires_grad}
    if not trained:
        raise UsageError("every layer of the network is frozen, expected one to train")
    spared = set() if recipe.decay_norms else names_without_decay(module)
    decaying = [weight for name, weight in trained.items() if name not in spared]
    others = [weight for name, weight in trained.items() if name in spared]
    groups: list[dict[str, Any]] = [{"params": decaying}, {"params": others, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups,
        recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )


def names_without_decay(module: nn.Module) -> set[str]:
    """Return the names of biases and of the parameters of norms, which are no weights of patterns.

    They are the parameters with one axis at most, and those of layer norms over several axes.
    """
    names = {name for name, parameter in module.named_parameters() if parameter.ndim < 2}
    for place, part in module.named_modules():
        if isinstance(part, nn.LayerNorm | nn.RMSNorm):
            names |= {f"{place}.{name}".lstrip(".") for name, _ in part.named_parameters()}
    return names


def loss_of(output: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    """Return the recipe's loss of (n, classes) scores for images of (n,) classes."""
    if recipe.loss == "cross_entropy":
        return F.cross_entropy(output, target, label_smoothing=recipe.label_smoothing)
    return F.mse_loss(output.float(), F.one_hot(target, output.shape[1]).float())


def scores_of(answer: object, images: int) -> Tensor:
    """Return the (n, classes) scores from the output of a network for n images."""
    scores = answered(answer, images, "the network", how="name an entry with answer=")
    if scores.ndim != 2:
        raise UsageError(
            f"the network returns {tuple(scores.shape)} to {images} images, expected ({images}, "
            "classes): a score for every class"
        )
    return scores


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return the accuracy of (n, classes) scores on images of (n,) classes."""
    return (output.argmax(1) == target).float().mean()


@torch.no_grad()
def evaluate(
    module: nn.Module,
    images: ImageSet,
    normalization: Normalization,
    device: torch.device,
    recipe: Recipe,
    layout: torch.memory_format = CHANNELS_LAST,
) -> tuple[float, float]:
    """Return mean loss and accuracy on the recipe's number of images, NaN for none.

    The images are spread over the classes, and neither moved nor their labels smoothed. The network
    is left in evaluation mode.
    """
    if len(images) == 0:
        return float("nan"), float("nan")
    module.to(device).eval()
    chosen = balanced_prefix(images.labels, recipe.test_images)
    labels = images.labels[chosen].to(device)
    parts = (images.images[part].to(device) for part in chosen.split(EVALUATION_BATCH))
    inputs = (as_input(part, normalization, module, layout) for part in parts)
    outputs = torch.cat([scores_of(module(images), len(images)) for images in inputs])
    loss = loss_of(outputs, labels, replace(recipe, label_smoothing=0.0))
    return float(loss), float(accuracy(outputs, labels))
