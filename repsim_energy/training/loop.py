"""The training loop: the whole data set on the device, no waiting inside an epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import DataError, TrainingError, UsageError
from repsim_energy.interfaces import ImageSet, Normalisation
from repsim_energy.models.layers import read_filters
from repsim_energy.training.recipe import Recipe

__all__ = [
    "History",
    "as_input",
    "choose_device",
    "evaluate",
    "make_optimizer",
    "normalisation_of",
    "seeded",
    "take_step",
    "train",
]

EVALUATION_BATCH = 250

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps planned."""


@dataclass(frozen=True, eq=False)
class History:
    """What a training leaves besides the trained network.

    Parameters
    ----------
    steps : gradient steps taken
    loss : (steps,) training loss of each step
    accuracy : (steps,) share of each batch classified right, before the step
    train_accuracy : the mean of ``accuracy`` over the last epoch (over all of a shorter training)
    snapshots : (s, k, c, kh, kw) filters of the first layer
    snapshot_steps : (s,) the steps after which they were taken
    evaluations : (e, 2) loss and accuracy on the test images
    evaluation_steps : (e,) the steps after which they were measured
    """

    steps: int
    loss: Tensor
    accuracy: Tensor
    train_accuracy: float
    snapshots: Tensor
    snapshot_steps: Tensor
    evaluations: Tensor
    evaluation_steps: Tensor


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; ``auto`` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device '{name}' cannot be used here, expected auto, cpu or cuda"
        ) from error
    return device


def normalisation_of(images: ImageSet) -> Normalisation:
    """Return the channel means and one common standard deviation of an image set.

    One number for all channels keeps the principal components of the input those of the images.
    """
    _check_images(images)
    channels = images.images.shape[1]
    total, square, count = torch.zeros(channels).double(), 0.0, 0
    for part in images.images.split(1024):
        values = _unit(part).double()
        total += values.sum((0, 2, 3))
        square += float(values.square().sum())
        count += values[:, 0].numel()
    mean = total / count
    variance = square / (count * channels) - float(mean.square().mean())
    if not variance > 1e-12:
        raise DataError(f"the images of '{images.name}' are constant, expected images that differ")
    return Normalisation(tuple(mean.tolist()), (float(variance**0.5),) * channels)


def _check_images(images: ImageSet) -> None:
    if len(images) == 0:
        raise DataError(
            f"'{images.name}' holds no images to train on, expected at least one; "
            "check its path, classes= and limit="
        )
    if images.images.is_floating_point() and not torch.isfinite(images.images).all():
        raise DataError(f"the images of '{images.name}' hold NaN or infinite values; clean them")


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def as_input(images: Tensor, normalisation: Normalisation) -> Tensor:
    """Return (n, c, h, w) network input of a batch of uint8 or float images."""
    mean, std = (
        torch.tensor(values, device=images.device).view(-1, 1, 1)
        for values in (normalisation.mean, normalisation.std)
    )
    scaled = (_unit(images) - mean) / std
    return scaled.contiguous(memory_format=torch.channels_last)


def train(
    module: nn.Module,
    layer: nn.Conv2d,
    images: ImageSet,
    test: ImageSet,
    normalisation: Normalisation,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> History:
    """Train a network in place and return its history.

    Parameters
    ----------
    layer : the first layer, whose filters are kept along the way
    test : images that are evaluated along the way and never trained on
    seed : of the order of the images and of what the network draws itself
    """
    total = recipe.total_steps(len(images))
    module.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    pixels, labels = images.images.to(device), images.labels.to(device)
    keep, ask = _log_spaced(total, recipe.snapshots), _evenly_spaced(total, recipe.evaluations)
    snapshots, losses, hits, asked = [read_filters(layer)], [], [], {}
    epoch_length = max(1, len(images) // recipe.batch)
    optimizer = make_optimizer(module, recipe)
    with seeded(seed, device):
        for step, chosen in enumerate(_batches(len(images), recipe, total, seed), 1):
            batch = chosen.to(device)
            inputs = as_input(pixels[batch], normalisation)
            loss, hit = take_step(module, optimizer, inputs, labels[batch], recipe)
            losses.append(loss)
            hits.append(hit)
            if step in keep:
                snapshots.append(read_filters(layer))
            if step in ask and len(test):
                asked[step] = evaluate(module, test, normalisation, device, recipe)
                module.train()
            if progress is not None:
                progress(step, total)
            if step % epoch_length == 0 and _finished(losses, hits, epoch_length, recipe, step):
                break
    _check_finite(losses, recipe)
    accuracy = torch.stack(hits).float().cpu()
    taken = [0, *sorted(s for s in keep if s <= step)]
    return History(
        steps=step,
        loss=torch.stack(losses).float().cpu(),
        accuracy=accuracy,
        train_accuracy=float(accuracy[-epoch_length:].mean()),
        snapshots=torch.stack(snapshots),
        snapshot_steps=torch.tensor(taken),
        evaluations=torch.tensor(list(asked.values())).view(-1, 2),
        evaluation_steps=torch.tensor(list(asked), dtype=torch.int64),
    )


def take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    target: Tensor,
    recipe: Recipe,
) -> tuple[Tensor, Tensor]:
    """Take one step of gradient descent; return loss and share classified right before it."""
    kind = inputs.device.type
    with torch.autocast(kind, torch.bfloat16, recipe.precision == "bfloat16"):
        output = module(inputs)
        loss = _loss(output, target, recipe)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach(), _hits(output.detach(), target)


def _log_spaced(total: int, count: int) -> set[int]:
    return {int(s) for s in np.unique(np.geomspace(1, total, count).round())} if count else set()


def _evenly_spaced(total: int, count: int) -> set[int]:
    return {round(total * (i + 1) / count) for i in range(count)}


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch for what a network draws itself (dropout), and leave the global state alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _batches(images: int, recipe: Recipe, total: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = min(recipe.batch, images)
    step = 0
    while True:
        order = torch.randperm(images, generator=generator)
        for start in range(0, images - size + 1, size):
            yield order[start : start + size]
            step += 1
            if step == total:
                return


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of all weights that are not frozen."""
    weights = [p for p in module.parameters() if p.requires_grad]
    if not weights:
        raise UsageError("every layer of the network is frozen, expected one to train")
    if recipe.optimizer == "adam":
        return torch.optim.Adam(weights, recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        weights, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _loss(output: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    if recipe.loss == "cross_entropy":
        return F.cross_entropy(output, target)
    return F.mse_loss(output.float(), F.one_hot(target, output.shape[1]).float())


def _hits(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).float().mean()


def _finished(
    losses: list[Tensor], hits: list[Tensor], epoch: int, recipe: Recipe, step: int
) -> bool:
    _check_finite(losses[-epoch:], recipe)
    reached = float(torch.stack(hits[-epoch:]).mean())
    return recipe.until_accuracy is not None and reached >= recipe.until_accuracy


def _check_finite(losses: list[Tensor], recipe: Recipe) -> None:
    if not torch.isfinite(torch.stack(losses)).all():
        raise TrainingError(
            f"the loss became infinite or NaN at lr={recipe.lr:g}, expected a finite one; "
            f"lower it, such as --recipe quick:lr={recipe.lr / 10:g}"
        )


@torch.no_grad()
def evaluate(
    module: nn.Module,
    images: ImageSet,
    normalisation: Normalisation,
    device: torch.device,
    recipe: Recipe,
) -> tuple[float, float]:
    """Return mean loss and share classified right of the recipe's number of images.

    The images are spread over the classes; NaN for none. The network is left in evaluation mode.
    """
    if len(images) == 0:
        return float("nan"), float("nan")
    module.to(device).eval()
    chosen = balanced_prefix(images.labels, recipe.test_images)
    pixels, labels = images.images[chosen], images.labels[chosen].to(device)
    batches = pixels.split(EVALUATION_BATCH)
    outputs = torch.cat([module(as_input(b.to(device), normalisation)) for b in batches])
    return float(_loss(outputs, labels, recipe)), float(_hits(outputs, labels))
