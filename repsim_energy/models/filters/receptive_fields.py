"""Which patch each place of an answer sees, from the rows and columns that it answers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Declared", "Windows", "declared_by", "windows_of"]


class Windows(NamedTuple):
    """The patches that places see.

    Parameters
    ----------
    top, left : the first (places,) rows and columns of the patches, -1 for no whole patch
    size : rows and columns of a patch
    place : one that sees a whole patch
    """

    top: Tensor
    left: Tensor
    size: tuple[int, int]
    place: int


@dataclass(frozen=True)
class Declared:
    """Where a convolution says that it sees its patches: rows and columns of each number."""

    extent: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    def starts(self, grid: Sequence[int]) -> list[Tensor]:
        """Return the first (places,) rows and columns of the patches of a map of this size."""
        places = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
        numbers = zip(places, self.stride, self.padding, strict=True)
        return [place.flatten() * stride - padding for place, stride, padding in numbers]


def declared_by(layer: nn.Module) -> Declared | None:
    """Return what a convolution says of the patches it sees; subclasses may do otherwise."""
    if not isinstance(layer, nn.Conv2d):
        return None
    extent = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding = layer.padding
    if isinstance(padding, str):
        padding = tuple((e - 1) // 2 if padding == "same" else 0 for e in extent)
    return Declared(_pair(extent), _pair(padding), _pair(layer.stride))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    rows, columns = numbers
    return rows, columns


def windows_of(
    seen: Sequence[Tensor], declared: Declared | None = None, grid: Sequence[int] = ()
) -> Windows | None:
    """Return the patch that each place sees, where patches are alike; ``None`` where they are not.

    Places whose patch reaches over the border see less of it, or, where the image goes on at its
    other side, all the way across. One place alone sees the whole image.

    Parameters
    ----------
    seen : (places, rows) and (places, columns), whether a place answers to each
    declared : what the layer says of its patches; taken where it answers to nothing else
    grid : rows and columns of the map of places, for that
    """
    size = tuple(lines.shape[1] for lines in seen)
    first = [lines.int().argmax(1) for lines in seen]
    last = [n - 1 - lines.flip(1).int().argmax(1) for lines, n in zip(seen, size, strict=True)]
    last = [torch.where(lines.any(1), end, -1) for lines, end in zip(seen, last, strict=True)]
    if declared and (told := _as_declared(declared, grid, size, first, last)) is not None:
        return told
    if len(seen[0]) == 1:
        start = torch.zeros(1, dtype=torch.long)
        return Windows(start, start, _pair(size), 0)
    whole, patch = torch.ones(len(seen[0]), dtype=torch.bool), []
    explained = last[0] < 0
    for start, end, n in zip(first, last, size, strict=True):
        extent, across = end - start + 1, (start == 0) & (end == n - 1)
        patch.append(int((extent[~across] if bool((~across).any()) else extent).max()))
        whole &= extent == patch[-1]
        explained |= (extent != patch[-1]) & ((start == 0) | (end == n - 1))
    if int(whole.sum()) < 2 or not bool((whole | explained).all()):
        return None
    top, left = (torch.where(whole, start, -1) for start in first)
    return Windows(top, left, _pair(patch), int(whole.nonzero()[0]))


def _as_declared(
    declared: Declared,
    grid: Sequence[int],
    size: Sequence[int],
    first: Sequence[Tensor],
    last: Sequence[Tensor],
) -> Windows | None:
    """Return the patches that a convolution declares, where it answers to nothing else."""
    starts = declared.starts(grid)
    whole, fits = torch.ones_like(last[0], dtype=torch.bool), torch.ones_like(last[0]).bool()
    for axis, start in enumerate(starts):
        end = start + declared.extent[axis] - 1
        whole &= (start >= 0) & (end < size[axis])
        fits &= (first[axis] >= start) & (last[axis] <= end)
    fits |= last[0] < 0
    if not whole.any() or not bool(fits[whole].all()):
        return None
    top, left = (torch.where(whole, start, -1) for start in starts)
    return Windows(top, left, declared.extent, int(whole.nonzero()[0]))
