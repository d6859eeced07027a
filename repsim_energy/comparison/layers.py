"""The layers that are compared: which, how large, and what represents each."""

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
    "passes_of",
    "plan_layers",
    "represent_layers",
    "say_what_is_shown",
]

AT_ONCE = 2 * 2**30
"""Bytes of activations that are kept at once where a metric sees all images together."""

Representations = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Layers:
    """The layers of each model.

    Parameters
    ----------
    names : for each model, layer -> submodule
    sizes : for each model, layer -> how many numbers it answers to an image
    """

    names: Sequence[Mapping[str, str]]
    sizes: Sequence[Mapping[str, int]]

    @property
    def labels(self) -> list[str]:
        """All layers, each once; models need not share them."""
        return list(dict.fromkeys(layer for names in self.names for layer in names))


def plan_layers(plan: Plan, layers: Sequence[str]) -> Layers:
    """Find the layers in every model and try them with two images, before anything is trained.

    Raises
    ------
    UsageError
        For layers that a model does not have or cannot answer with, and filters without a network.
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
            with _naming(spec.label):
                names.append(layer_names(module, wanted, plan.layers.get((0, m))))
                images = plan.datasets[0].train.images
                sizes.append(layer_sizes(module, names[-1], images, plan.device, answer))
            advance(1)
    return Layers(names, sizes)


def choose_images(plan: Plan, images: int, metric: Metric) -> list[ImageSet]:
    """Return for each data set the test images to be shown (without any, training images).

    Classes are equally frequent. Sets of the same images, such as with other labels, show the same
    ones. Where a metric sees them in batches, they come in random order, because a batch has to
    be a sample of all, and so many that batches are equal.
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
    """Return the split of each data set that is shown, ``test`` or ``train``.

    It is worth a warning where it is the training images, unless they are images from memory that
    no network is trained on here; and where fewer are there than were asked for.

    Parameters
    ----------
    wanted : how many images are asked for; ``None`` where that was left open
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
) -> tuple[Representations, list[str]]:
    """Return layer -> what the metric represents its answers to the images by.

    A metric with ``batch`` is given each batch while the network is at it, so that one pass serves
    all layers and no activations are kept. Without, layers are taken in groups whose activations
    fit into memory, one pass a group.

    Parameters
    ----------
    names : layer -> submodule
    sizes : layer -> how many numbers it answers to an image
    label : what to call the network when it fails
    on_images : called with the number of images of each batch that was shown

    Returns
    -------
    The representations, and for layers that answer NaN or infinite numbers, which have none, a
    line that says so.
    """
    module, found, checked = network.module(), {}, _Finite()

    def look(layers: Mapping[str, str], batch: int, receive: Receive) -> None:
        way, answer = network.normalization, network.answer
        observe(
            module, layers, images, batch, way, device, receive, answer=answer, on_images=on_images
        )

    ours = network.run is not None  # built and trained where float32 was the default
    with _naming(label), float32_by_default() if ours else contextlib.nullcontext():
        if (batch := getattr(metric, "batch", None)) is not None:
            size = batches_of(len(images), batch)[1]
            parts: dict[str, list[NDArray[np.float64]]] = {layer: [] for layer in names}

            def represent(layer: str, answer: Tensor) -> None:
                if checked(layer, answer):
                    parts[layer].append(metric.represent(Activations(answer)))

            look(names, batch=size, receive=represent)
            found = {layer: np.stack(parts.pop(layer)) for layer in checked.left_of(names)}
            return found, checked.failures(label)
        for group in groups_of(sizes, len(images)):
            kept = _Kept(len(images))
            chosen = {layer: names[layer] for layer in group}

            def keep(layer: str, answer: Tensor, kept: _Kept = kept) -> None:
                if checked(layer, answer):
                    kept.add(layer, answer)

            look(chosen, batch=EVALUATION_BATCH, receive=keep)
            for layer in checked.left_of(group):
                found[layer] = metric.represent(Activations(kept.answers.pop(layer)))
    return found, checked.failures(label)


def passes_of(metric: Metric, sizes: Mapping[str, int], images: int) -> int:
    """Return how many times :func:`represent_layers` shows all images to a network."""
    return 1 if getattr(metric, "batch", None) is not None else len(groups_of(sizes, images))


class _Finite:
    """Whether layers answer finite numbers alone."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def __call__(self, layer: str, answer: Tensor) -> bool:
        """Return whether all answers of a layer were finite up to this one."""
        if answer.numel() and not torch.isfinite(torch.stack(torch.aminmax(answer))).all():
            self._failed.add(layer)
        return layer not in self._failed

    def left_of(self, layers: Iterable[str]) -> list[str]:
        """Return the layers that answered finite numbers alone."""
        return [layer for layer in layers if layer not in self._failed]

    def failures(self, label: str) -> list[str]:
        """Return a line for each of the others."""
        return [
            f"{label}: layer '{layer}' answers NaN or infinite numbers; its pairs are NaN"
            for layer in sorted(self._failed)
        ]


def batches_of(images: int, batch: int) -> tuple[int, int]:
    """Return into how many batches of how many images each, at most ``batch``, images are dealt.

    Batches are equal; fewer images than there are batches are left out.

    Examples
    --------
    >>> batches_of(10_000, 256), batches_of(1001, 256)
    ((40, 250), (4, 250))
    """
    count = max(1, -(-images // batch))
    return count, images // count


def groups_of(sizes: Mapping[str, int], images: int) -> list[list[str]]:
    """Return layers in groups whose float32 answers to all images fit into AT_ONCE bytes."""
    groups: list[list[str]] = []
    room = 0
    for layer, size in sizes.items():
        room -= 4 * size * images
        if room < 0:
            groups.append([])
            room = AT_ONCE - 4 * size * images
        groups[-1].append(layer)
    return groups


class _Kept:
    """The answers of some layers to all images, on the CPU."""

    def __init__(self, images: int) -> None:
        self.answers: dict[str, Tensor] = {}
        self._images = images
        self._filled: dict[str, int] = {}

    def add(self, layer: str, answer: Tensor) -> None:
        """Copy the answer to a batch behind those to the batches before."""
        start = self._filled.get(layer, 0)
        if start == 0:
            self.answers[layer] = _in_the_order_of(answer, self._images)
        self.answers[layer][start : start + len(answer)] = answer
        self._filled[layer] = start + len(answer)


def _in_the_order_of(answer: Tensor, rows: int) -> Tensor:
    """Return space for so many rows, in the answer's order of memory: copied much faster."""
    space = torch.empty(rows, *answer.shape[1:], dtype=answer.dtype, device="cpu")
    last = is_channels_last(answer)
    return space.contiguous(memory_format=torch.channels_last) if last else space


@contextlib.contextmanager
def _naming(label: str) -> Iterator[None]:
    """Say in one line which network failed on the images."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"'{label}': {error}") from error
    except NETWORK_ERRORS as error:
        raise RepsimError(
            f"'{label}' failed on the images ({reason_of(error)}); {remedy_of(error)}"
        ) from error
