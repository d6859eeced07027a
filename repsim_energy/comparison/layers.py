"""Layers that are compared: the images that they are shown, and their representations."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.activations import Receive, observe
from repsim_energy.comparison.kept_activations import Kept, samples_of
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Plan
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError, reason_of, warn
from repsim_energy.interfaces import Activations, ImageSet, Metric
from repsim_energy.numerics.positions import View
from repsim_energy.training.build import NETWORK_ERRORS, remedy_of
from repsim_energy.training.isolation import float32_by_default
from repsim_energy.training.loop import EVALUATION_BATCH

__all__ = [
    "batches_of",
    "choose_images",
    "groups_of",
    "naming",
    "passes_of",
    "represent_layers",
    "say_what_is_shown",
]

MAX_ACTIVATION_BYTES = 2 * 2**30
"""Memory for activations of a metric that needs all images at once."""

PASS_PIXELS, MIN_PASS_IMAGES = 2**16, 16
"""Pixels that a processor is shown at once, such as 64 images of 32 x 32, and the fewest images.
Outputs of layers then stay in its cache, and in memory that is used again: 4 to 14% less time than
with 250 images (measured).
"""

Representations = dict[str, NDArray[np.float64]]

NO_VIEWS: Mapping[str, View] = {}


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
            warn(f"'{data.label}' has no test images, so that networks are shown training images")
        if wanted is not None and wanted > there:
            kind = f"{there} {'training' if split == 'train' else 'test'} images"
            warn(f"got images={wanted}, but '{data.label}' has {kind}; all are shown")
    return splits


def represent_layers(
    metric: Metric,
    network: Network,
    names: Mapping[str, str],
    sizes: Mapping[str, int],
    images: Tensor,
    device: torch.device,
    label: str,
    on_images: Callable[[int], None] = lambda _: None,
    views: Mapping[str, View] = NO_VIEWS,
    typed: Mapping[str, str] | None = None,
    halves: Sequence[Tensor] = (),
    precision: str = "float32",
) -> tuple[Representations, list[Representations], list[str]]:
    """Return the representation of each layer of a network.

    A metric with ``batch`` gets each batch during the forward pass, so that one pass is enough for
    all layers and no activations are stored. Otherwise layers are processed in groups whose
    activations fit into memory, with one pass per group.

    Parameters
    ----------
    names : layer -> submodule
    sizes : layer -> the size of what is compared of its output for one image
    label : name of the network in errors
    on_images : called with the number of images of each batch after its forward pass
    views : layer -> the choice of its positions; missing for the whole output
    typed : layer -> its name in this network, for layers that are labeled otherwise
    halves : numbers of the images of each half-sample, for a metric without ``batch``
    precision : ``float32``, or ``bfloat16`` for forward passes in mixed precision. What is computed
        of their outputs is not

    Returns
    -------
    The representations, those for each half-sample, and a line for each layer with NaN or infinite
    activations, which has none.
    """
    module, checked = network.module(), _Finite()
    of_halves: list[Representations] = [{} for _ in halves]

    def look(layers: Mapping[str, str], batch: int, receive: Receive) -> None:
        with torch.autocast(device.type, torch.bfloat16, precision == "bfloat16"):
            observe(
                module,
                layers,
                images,
                batch,
                network.normalization,
                device,
                torch.autocast(device.type, enabled=False)(receive),
                answer=network.answer,
                on_images=on_images,
                typed=typed,
            )

    ours = network.run is not None  # built and trained where float32 was the default
    with naming(label), float32_by_default() if ours else contextlib.nullcontext():
        if (batch := getattr(metric, "batch", None)) is not None:
            size = batches_of(len(images), batch)[1]
            found = _represent_batches(metric, look, names, size, views, checked)
        else:
            found = {}
            for group in groups_of(sizes, len(images)):
                chosen = {layer: names[layer] for layer in group}
                kept = Kept(len(images), views)
                _keep_whole(look, chosen, _images_at_once(images, device), kept, checked)
                for layer in checked.left_of(chosen):
                    rows = kept.answers.pop(layer)
                    found[layer] = metric.represent(Activations(rows))
                    _represent_halves(metric, layer, rows, len(images), halves, of_halves)
    return found, of_halves, checked.failures(label)


Look = Callable[[Mapping[str, str], int, Receive], None]
"""Shows all images to a network: called with its layers, the batch size and a receiver."""


def _represent_batches(
    metric: Metric,
    look: Look,
    names: Mapping[str, str],
    size: int,
    views: Mapping[str, View],
    checked: _Finite,
) -> Representations:
    """Return the representation of each batch of layers' outputs, stacked."""
    parts: dict[str, list[NDArray[np.float64]]] = {layer: [] for layer in names}

    def represent(layer: str, answer: Tensor) -> None:
        if checked(layer, answer):
            for rows in samples_of(answer, views.get(layer)):
                parts[layer].append(metric.represent(Activations(rows)))

    look(names, size, represent)
    return {layer: np.stack(parts.pop(layer)) for layer in checked.left_of(names)}


def _images_at_once(images: Tensor, device: torch.device) -> int:
    """Return the number of images of a forward pass, if the metric does not choose it."""
    if device.type != "cpu":
        return EVALUATION_BATCH
    return max(MIN_PASS_IMAGES, min(EVALUATION_BATCH, PASS_PIXELS // images.shape[2:].numel()))


def _keep_whole(
    look: Look, names: Mapping[str, str], batch: int, kept: Kept, checked: _Finite
) -> None:
    """Keep the outputs of layers for all images, which are shown in batches."""

    def keep(layer: str, answer: Tensor) -> None:
        if checked(layer, answer):
            kept.add(layer, answer)

    look(names, batch, keep)


def _represent_halves(
    metric: Metric,
    layer: str,
    rows: Tensor,
    images: int,
    halves: Sequence[Tensor],
    of_halves: Sequence[Representations],
) -> None:
    """Add the representation of a layer's output for each half of the images.

    Parameters
    ----------
    rows : samples, equally many of each image, those of an image together
    """
    each = torch.arange(len(rows) // images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # which the whole has given
        for half, chosen in zip(of_halves, halves, strict=True):
            places = (chosen[:, None] * len(each) + each).flatten()
            half[layer] = metric.represent(Activations(rows[places]))


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
