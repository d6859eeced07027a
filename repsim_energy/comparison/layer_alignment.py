"""Alignment of the inputs of layers of different networks, and filters carried over by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from repsim_energy.comparison.layer_inputs import show_images
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.numerics.memory import available_memory
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import working

__all__ = ["InputMoments", "Shown", "carry_filters", "input_moments"]

Index = tuple[int, ...]

MAX_MAPS_BYTES = 256 * 2**20
"""Bytes of the inputs of all layers that are in memory at once."""


@dataclass(eq=False)
class InputMoments:
    r"""Second moments of the channels of several layers' inputs, of one size of maps.

    .. math:: K_{ab} = \frac1n \sum_j (x^a_j - \bar x^a)(x^b_j - \bar x^b)^\top

    over all images and positions j, where :math:`x^a_j` are the channels of the input of layer a.

    Parameters
    ----------
    channels : layer -> number of its channels
    """

    channels: Mapping[Index, int]
    _count: int = 0
    _total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    _second: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))

    def __post_init__(self) -> None:
        """Refuse more channels than fit into memory."""
        size = sum(self.channels.values())
        if 3 * 8 * size**2 > available_memory():
            raise UsageError(
                f"the inputs of all layers have {size} channels together, whose products do not "
                "fit into memory; name fewer layers"
            )
        self._total = torch.zeros(size, dtype=torch.float64)
        self._second = torch.zeros(size, size, dtype=torch.float64)

    @own_settings()
    def add(self, inputs: Mapping[Index, Tensor]) -> None:
        """Add the inputs (n, c, h, w) of every layer for the same images."""
        rows = [inputs[layer].transpose(0, 1).flatten(1).double() for layer in self.channels]
        stacked = torch.cat(rows)
        self._count += stacked.shape[1]
        self._total += stacked.sum(1)
        self._second += stacked @ stacked.T

    @own_settings()
    def align(self, a: Index, b: Index) -> tuple[Tensor, float]:
        r"""Return the orthogonal map from the channels of b to those of a that fits best.

        .. math:: A = U V^\top,\quad K_{ab} = U S V^\top

        It minimizes :math:`\sum_j \|x^a_j - A x^b_j\|^2` over orthogonal maps, about the means.

        Source: Guth, Menard, Rochette and Mallat (2024), "A Rainbow in Deep Network Black Boxes";
        arXiv:2305.18512.

        Returns
        -------
        (c_a, c_b) float64, and the similarity of the aligned inputs,
        :math:`\operatorname{tr} S / \sqrt{\operatorname{tr} K_{aa} \operatorname{tr} K_{bb}}`,
        between 0 and 1. It is NaN for constant inputs.
        """
        cross, own_a, own_b = self._block(a, b), self._block(a, a), self._block(b, b)
        u, s, vh = torch.linalg.svd(cross, full_matrices=False)
        scale = float(own_a.trace() * own_b.trace()) ** 0.5
        return u @ vh, min(float(s.sum()) / scale, 1.0) if scale > 0 else float("nan")

    def _block(self, a: Index, b: Index) -> Tensor:
        starts, start = {}, 0
        for layer, size in self.channels.items():
            starts[layer] = slice(start, start + size)
            start += size
        rows, columns = starts[a], starts[b]
        mean = self._total / self._count
        return self._second[rows, columns] / self._count - torch.outer(mean[rows], mean[columns])


@own_settings()
def carry_filters(filters: Tensor, alignment: Tensor) -> Tensor:
    """Return filters (k, c_b, kh, kw) for the input of another layer, (k, c_a, kh, kw) float64.

    Their responses to the input of a are those of the filters to the part of it that b has.

    Parameters
    ----------
    alignment : (c_a, c_b) of :meth:`InputMoments.align`
    """
    return torch.einsum("kchw,ac->kahw", filters.double(), alignment)


@dataclass(frozen=True, eq=False)
class Shown:
    """Network whose layers' inputs are aligned with those of others.

    Parameters
    ----------
    layers : number of a layer -> name of its submodule
    normalization : of the images that the network is shown
    """

    module: nn.Module
    layers: Mapping[int, str]
    normalization: Normalization


def input_moments(
    networks: Mapping[Index, Shown], images: Tensor, device: torch.device
) -> dict[Index, InputMoments]:
    """Return the second moments of the inputs of all layers without groups of channels.

    Layers whose maps have one size share them. Images are shown in parts of limited memory.

    Parameters
    ----------
    networks : index -> network

    Returns
    -------
    Index of a network with the number of its layer -> the moments
    """
    found: dict[tuple[int, ...], InputMoments] = {}
    of_layer: dict[Index, InputMoments] = {}
    start, size = 0, 1
    with working("aligning inputs", len(images), "images") as advance:
        while start < len(images):
            part = images[start : start + size]
            inputs = _inputs(networks, part, device)
            for place, maps in inputs.items():
                if place not in found:
                    found[place] = InputMoments({at: m.shape[1] for at, m in maps.items()})
                    of_layer |= dict.fromkeys(maps, found[place])
                found[place].add(maps)
            advance(len(part))
            start += len(part)
            taken = sum(8 * m.numel() for maps in inputs.values() for m in maps.values())
            size = max(1, MAX_MAPS_BYTES * len(part) // max(1, taken))
    return of_layer


def _inputs(
    networks: Mapping[Index, Shown], images: Tensor, device: torch.device
) -> dict[tuple[int, ...], dict[Index, Tensor]]:
    """Return (maps for an image, rows, columns) -> layer -> its input."""
    found: dict[tuple[int, ...], dict[Index, Tensor]] = {}
    for index, network in networks.items():
        maps: dict[str, list[Tensor]] = {}

        def keep(layer: str, given: Tensor, maps: dict[str, list[Tensor]] = maps) -> None:
            maps.setdefault(layer, []).append(given.cpu().clone())

        named = {str(number): name for number, name in network.layers.items()}
        show_images(network.module, named, images, keep, network.normalization, device)
        for number, name in network.layers.items():
            whole = torch.cat(maps[str(number)])
            if getattr(network.module.get_submodule(name), "groups", 1) == 1:
                place = (len(whole) // len(images), *whole.shape[2:])
                found.setdefault(place, {})[*index, number] = whole
    return found
