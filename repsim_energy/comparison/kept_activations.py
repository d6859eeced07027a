"""Activations of layers batch by batch, as samples of a metric."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from repsim_energy.numerics.features import is_channels_last
from repsim_energy.numerics.positions import View

__all__ = ["Kept", "samples_of"]


def samples_of(answer: Tensor, view: View | None) -> list[Tensor]:
    """Return the output of a layer for a batch in parts of as many samples as it has images.

    Where every position is a sample, the samples of a batch are first put in a random order, the
    same for every layer and network, so that a part is not of a few images alone.
    """
    if view is None:
        return [answer]
    rows, count = view(answer), len(answer)
    if view.sample_grid:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        rows = rows[order.to(rows.device)]
    return list(rows.split(count))


class Kept:
    """Activations of some layers for all images, on the CPU."""

    def __init__(self, images: int, views: Mapping[str, View]) -> None:
        self.answers: dict[str, Tensor] = {}
        self._images = images
        self._views = views
        self._filled: dict[str, int] = {}

    def add(self, layer: str, answer: Tensor) -> None:
        """Append the activations for a batch."""
        start, images = self._filled.get(layer, 0), len(answer)
        if (view := self._views.get(layer)) is not None:
            answer = view(answer)
        if start == 0:
            rows = self._images * (len(answer) // images)
            self.answers[layer] = _in_the_order_of(answer, rows)
        self.answers[layer][start : start + len(answer)] = answer
        self._filled[layer] = start + len(answer)


def _in_the_order_of(answer: Tensor, rows: int) -> Tensor:
    """Return an empty tensor of so many rows in the memory layout of the output: fast to copy."""
    layout = torch.channels_last if is_channels_last(answer) else torch.contiguous_format
    shape = (rows, *answer.shape[1:])
    return torch.empty(shape, dtype=answer.dtype, device="cpu", memory_format=layout)
