"""Layers that are compared: their names, their sizes and their representations."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.activations import Receive, layer_names, layer_sizes, observe
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError, reason_of
from repsim_energy.interfaces import Activations, ImageSet, Metric
from repsim_energy.numerics.features import is_channels_last
from repsim_energy.progress import working
from repsim_energy.training.build import NETWORK_ERRORS, remedy_of
from repsim_energy.training.isolation import float32_by_default
from repsim_energy.training.loop import EVALUATION_BATCH

__all__ = [
    "Layers",
    "batches_of",
    "choose_images",
    "groups_of",
    "naming",
    "passes_of",
    "plan_layers",
    "represent_layers",
    "say_what_is_shown",
]

MAX_ACTIVATION_BYTES = 2 * 2**30
"""Memory for activations of a metric that needs all images at once."""

Representations = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers of each model.

    Parameters
    ----------
    names : for each model, layer -> submodule
    sizes : for each model, layer -> the size of its output for one image
    """

    names: Sequence[Mapping[str, str]]
    sizes: Sequence[Mapping[str, int]]

    @property
    def labels(self) -> list[str]:
        """Names of all layers without repetition. Models need not have the same ones."""
        return list(dict.fromkeys(layer for names in self.names for layer in names))


def plan_layers(plan: Plan, layers: Sequence[str]) -> Layers:
    """Find the layers in every model and run it on two images, before anything is trained.

    Raises
    ------
    UsageError
        For layers that a model does not have or that return no activations, and for filters
        without a network.
    RepsimError
        For models that fail on the images.
    """
    wanted = list(layers) if isinstance(layers, Iterable) else []
    if not wanted or not all(isinstance(layer, str) and layer for layer in wanted):
        raise UsageError(
            f"got layers {wanted or layers}, expected at least one name such as first or output"
        )
    names, sizes = [], []
    with working("trying layers", len(plan.models), "models") as advance:
        for m, spec in enumerate(plan.models):
            given = plan.trained.get((0, m))
            if given is not None and not given.network:
                raise UsageError(
                    f"model '{spec.label}' is filters alone and has no activations; name its "
                    "architecture with arch=, or compare with metric=energy"
                )
            if given is None:
                module, answer = plan.untrained(plan.training(Key(0, m, 0))), ""
            else:
                module, answer = given.module, given.answer
            with naming(spec.label):
                names.append(layer_names(module, wanted, plan.layers.get((0, m))))
                images = plan.datasets[0].train.images
                sizes.append(layer_sizes(module, names[-1], images, plan.device, answer))
            advance(1)
    return Layers(names, sizes)


def choose_images(plan: Plan, images: int, metric: Metric) -> list[ImageSet]:
    """Return the images of each data set on which networks are compared.

    These are test images, or training images if there are none. Classes are equally frequent. Data
    sets with the same images, such as with other labels, give the same ones. For a metric that
    takes batches they are in random order, so that a batch is a sample of all, and their number is
    a multiple of the batch size.
    """
    if not isinstance(images, int | np.integer) or images < 1:
        raise UsageError(f"got images={images!r}, expected a whole number, at least 1")
    chosen: dict[str, ImageSet] = {}
    sources = [data.test if len(data.test) else data.train for data in plan.datasets]
    for source in sources:
        if source.image_fingerprint in chosen:
            continue
        indices = balanced_prefix(source.labels, images)
        if (batch := getattr(metric, "batch", None)) is not None:
            count, size = batches_of(len(indices), batch)
            order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
            indices = indices[order[: count * size]]
        chosen[source.image_fingerprint] = replace(
            source, images=source.images[indices], labels=source.labels[indices]
        )
    return [chosen[source.image_fingerprint] for source in sources]


def say_what_is_shown(plan: Plan, wanted: int | None) -> list[str]:
    """Return the split of each data set that is used, ``test`` or ``train``.

    Warns if training images are used, unless they are images in memory on which no network is
    trained here, and if there are fewer images than were asked for.

    Parameters
    ----------
    wanted : number of images that the user asked for; ``None`` by default
    """
    splits = ["test" if len(data.test) else "train" for data in plan.datasets]
    for data, split in zip(plan.datasets, splits, strict=True):
        there = len(getattr(data, split))
        if split == "train" and (plan.trains or data.origins):
            _warn(f"'{data.label}' has no test images, so that networks are shown training images")
        if wanted is not None and wanted > there:
            kind = f"{there} {'training' if split == 'train' else 'test'} images"
            _warn(f"got images={wanted}, but '{data.label}' has {kind}; all are shown")
    return splits


def _warn(text: str) -> None:
    warnings.warn(text, RepsimWarning, stacklevel=6)


def represent_layers(
    metric: Metric,
    network: Network,
    names: Mapping[str, str],
    sizes: Mapping[str, int],
    images: Tensor,
    device: torch.device,
    label: str,
    on_images: Callable[[int], None] = lambda _: None,
    halves: Sequence[Tensor] = (),
) -> tuple[Representations, list[Representations], list[str]]:
    """Return the representation of each layer of a network.

    A metric with ``batch`` gets each batch during the forward pass, so that one pass is enough for
    all layers and no activations are stored. Otherwise layers are processed in groups whose
    activations fit into memory, with one pass per group.

    Parameters
    ----------
    names : layer -> submodule
    sizes : layer -> the size of its output for one image
    label : name of the network in errors
    on_images : called with the number of images of each batch after its forward pass
    halves : numbers of the images of each half-sample, for a metric without ``batch``

    Returns
    -------
    The representations, those for each half-sample, and a line for each layer with NaN or infinite
    activations, which has none.
    """
    module, found, checked = network.module(), {}, _Finite()
    of_halves: list[Representations] = [{} for _ in halves]

    def look(layers: Mapping[str, str], batch: int, receive: Receive) -> None:
        way, answer = network.normalization, network.answer
        observe(
            module, layers, images, batch, way, device, receive, answer=answer, on_images=on_images
        )

    ours = network.run is not None  # built and trained where float32 was the default
    with naming(label), float32_by_default() if ours else contextlib.nullcontext():
        if (batch := getattr(metric, "batch", None)) is not None:
            size = batches_of(len(images), batch)[1]
            parts: dict[str, list[NDArray[np.float64]]] = {layer: [] for layer in names}

            def represent(layer: str, answer: Tensor) -> None:
                if checked(layer, answer):
                    parts[layer].append(metric.represent(Activations(answer)))

            look(names, batch=size, receive=represent)
            found = {layer: np.stack(parts.pop(layer)) for layer in checked.left_of(names)}
            return found, of_halves, checked.failures(label)
        for group in groups_of(sizes, len(images)):
            kept = _Kept(len(images))
            chosen = {layer: names[layer] for layer in group}

            def keep(layer: str, answer: Tensor, kept: _Kept = kept) -> None:
                if checked(layer, answer):
                    kept.add(layer, answer)

            look(chosen, batch=EVALUATION_BATCH, receive=keep)
            for layer in checked.left_of(group):
                values = kept.answers.pop(layer)
                found[layer] = metric.represent(Activations(values))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", RepsimWarning)  # which the whole has given
                    for half, images_of_half in zip(of_halves, halves, strict=True):
                        half[layer] = metric.represent(Activations(values[images_of_half]))
    return found, of_halves, checked.failures(label)


def passes_of(metric: Metric, sizes: Mapping[str, int], images: int) -> int:
    """Return how many times :func:`represent_layers` shows all images to a network."""
    return 1 if getattr(metric, "batch", None) is not None else len(groups_of(sizes, images))


class _Finite:
    """Record of the layers with NaN or infinite activations."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def __call__(self, layer: str, answer: Tensor) -> bool:
        """Return whether all activations of a layer have been finite so far."""
        if answer.numel() and not torch.isfinite(torch.stack(torch.aminmax(answer))).all():
            self._failed.add(layer)
        return layer not in self._failed

    def left_of(self, layers: Iterable[str]) -> list[str]:
        """Return the layers whose activations have all been finite."""
        return [layer for layer in layers if layer not in self._failed]

    def failures(self, label: str) -> list[str]:
        """Return a line for each of the others."""
        return [
            f"{label}: layer '{layer}' returns NaN or infinite numbers; its pairs are NaN"
            for layer in sorted(self._failed)
        ]


def batches_of(images: int, batch: int) -> tuple[int, int]:
    """Return the number of batches and their size, at most ``batch``.

    Batches are of equal size. The remaining images, fewer than there are batches, are left out.

    Examples
    --------
    >>> batches_of(10_000, 256), batches_of(1001, 256)
    ((40, 250), (4, 250))
    """
    count = max(1, -(-images // batch))
    return count, images // count


def groups_of(sizes: Mapping[str, int], images: int) -> list[list[str]]:
    """Return layers in groups whose float32 activations for all images fit into memory."""
    groups: list[list[str]] = []
    room = 0
    for layer, size in sizes.items():
        room -= 4 * size * images
        if room < 0:
            groups.append([])
            room = MAX_ACTIVATION_BYTES - 4 * size * images
        groups[-1].append(layer)
    return groups


class _Kept:
    """Activations of some layers for all images, on the CPU."""

    def __init__(self, images: int) -> None:
        self.answers: dict[str, Tensor] = {}
        self._images = images
        self._filled: dict[str, int] = {}

    def add(self, layer: str, answer: Tensor) -> None:
        """Append the activations for a batch."""
        start = self._filled.get(layer, 0)
        if start == 0:
            self.answers[layer] = _in_the_order_of(answer, self._images)
        self.answers[layer][start : start + len(answer)] = answer
        self._filled[layer] = start + len(answer)


def _in_the_order_of(answer: Tensor, rows: int) -> Tensor:
    """Return an empty tensor of so many rows in the memory layout of the output: fast to copy."""
    space = torch.empty(rows, *answer.shape[1:], dtype=answer.dtype, device="cpu")
    last = is_channels_last(answer)
    return space.contiguous(memory_format=torch.channels_last) if last else space


@contextlib.contextmanager
def naming(label: str) -> Iterator[None]:
    """Name the network in errors."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"'{label}': {error}") from error
    except NETWORK_ERRORS as error:
        raise RepsimError(
            f"'{label}' failed on the images ({reason_of(error)}); {remedy_of(error)}"
        ) from error
