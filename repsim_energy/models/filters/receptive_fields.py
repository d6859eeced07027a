"""Find the receptive field of each output position from the rows and columns that change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Geometry", "ReceptiveFields", "conv_geometry", "find_receptive_fields"]


class ReceptiveFields(NamedTuple):
    """The patches of an image that the output positions of a layer see.

    Parameters
    ----------
    top, left : (positions,) first row and column of each patch, -1 where it crosses the border
    size : rows and columns of a patch
    position : an output position whose patch lies inside the image
    """

    top: Tensor
    left: Tensor
    size: tuple[int, int]
    position: int


@dataclass(frozen=True)
class Geometry:
    """Extent, padding and stride of a convolution, each for rows and columns.

    Parameters
    ----------
    extent : rows and columns that a dilated filter spans
    """

    extent: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    def starts(self, grid: Sequence[int]) -> list[Tensor]:
        """Return the (positions,) first rows and columns of the patches, some of them negative.

        Parameters
        ----------
        grid : rows and columns of the output
        """
        axes = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
        both = zip(axes, self.stride, self.padding, strict=True)
        return [axis.flatten() * stride - padding for axis, stride, padding in both]


def conv_geometry(layer: nn.Module) -> Geometry | None:
    """Return the geometry of a ``Conv2d``, which its subclasses need not follow, or ``None``."""
    if not isinstance(layer, nn.Conv2d):
        return None
    extent = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding = layer.padding
    if isinstance(padding, str):
        padding = tuple((e - 1) // 2 if padding == "same" else 0 for e in extent)
    return Geometry(_pair(extent), _pair(padding), _pair(layer.stride))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    rows, columns = numbers
    return rows, columns


def find_receptive_fields(
    seen: Sequence[Tensor], geometry: Geometry | None = None, grid: Sequence[int] = ()
) -> ReceptiveFields | None:
    """Return the receptive fields of a layer, or ``None`` if they differ in size.

    Patches that cross the border are cut off there, or, with circular padding, span the image. A
    single output position sees the whole image.

    Parameters
    ----------
    seen : (positions, rows) and (positions, columns), whether each row and column of the image
        changes the output there
    geometry : of the layer, used if no row or column outside of it changes the output
    grid : rows and columns of the output, which ``geometry`` needs
    """
    size = tuple(lines.shape[1] for lines in seen)
    first = [lines.int().argmax(1) for lines in seen]
    last = [n - 1 - lines.flip(1).int().argmax(1) for lines, n in zip(seen, size, strict=True)]
    last = [torch.where(lines.any(1), end, -1) for lines, end in zip(seen, last, strict=True)]
    if geometry and (fields := _by_geometry(geometry, grid, size, first, last)) is not None:
        return fields
    if len(seen[0]) == 1:
        start = torch.zeros(1, dtype=torch.long)
        return ReceptiveFields(start, start, _pair(size), 0)
    inside, patch = torch.ones(len(seen[0]), dtype=torch.bool), []
    explained = last[0] < 0
    for start, end, n in zip(first, last, size, strict=True):
        extent, across = end - start + 1, (start == 0) & (end == n - 1)
        patch.append(int((extent[~across] if bool((~across).any()) else extent).max()))
        inside &= extent == patch[-1]
        explained |= (extent != patch[-1]) & ((start == 0) | (end == n - 1))
    if int(inside.sum()) < 2 or not bool((inside | explained).all()):
        return None
    top, left = (torch.where(inside, start, -1) for start in first)
    return ReceptiveFields(top, left, _pair(patch), int(inside.nonzero()[0]))


def _by_geometry(
    geometry: Geometry,
    grid: Sequence[int],
    size: Sequence[int],
    first: Sequence[Tensor],
    last: Sequence[Tensor],
) -> ReceptiveFields | None:
    """Return the patches of a geometry, or ``None`` if the output changes with other pixels.

    Parameters
    ----------
    first, last : the rows and columns of the image between which the output changes
    """
    starts = geometry.starts(grid)
    inside, fits = torch.ones_like(last[0], dtype=torch.bool), torch.ones_like(last[0]).bool()
    for axis, start in enumerate(starts):
        end = start + geometry.extent[axis] - 1
        inside &= (start >= 0) & (end < size[axis])
        fits &= (first[axis] >= start) & (last[axis] <= end)
    fits |= last[0] < 0
    if not inside.any() or not bool(fits[inside].all()):
        return None
    top, left = (torch.where(inside, start, -1) for start in starts)
    return ReceptiveFields(top, left, geometry.extent, int(inside.nonzero()[0]))
