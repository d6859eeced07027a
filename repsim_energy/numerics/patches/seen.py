"""Moments of the patches that a layer sees: padded, strided, dilated, of groups of channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.interfaces import PatchBasis
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.settings import own_settings

__all__ = ["SeenPatches", "Window", "patches_of", "seen_patches"]

CHUNK_BYTES = 32 * 2**20
"""Maximum size of the patches that are multiplied at once."""


MIN_BLOCK = 64
"""Smallest number of rows that are multiplied at once."""


@dataclass(frozen=True)
class Window:
    """Places and size of the patches of a layer.

    Parameters
    ----------
    size, stride, dilation : rows and columns
    padding : pixels that are added to the left, to the right, above and below
    mode : of the padding, as in :func:`torch.nn.functional.pad`
    groups : of channels; a filter sees the channels of one group
    """

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "constant"
    groups: int = 1

    def inside(self) -> Window:
        """Return the window of all overlapping patches inside the maps, without padding."""
        return replace(self, stride=(1, 1), padding=(0, 0, 0, 0))


@dataclass(frozen=True, eq=False)
class SeenPatches:
    r"""Number, sum and second moment of the patches of each group of channels.

    Parameters
    ----------
    count : patches of each group
    total : (g, d) float64, sum of the patches of each group
    second : (g, d, d) float64, sum of :math:`p p^\top`
    patch : (c, kh, kw) with d = c * kh * kw, the channels of one group
    """

    count: int
    total: Tensor
    second: Tensor
    patch: tuple[int, int, int]

    @own_settings()
    def __add__(self, other: SeenPatches) -> SeenPatches:
        """Return the moments of both sets of patches together."""
        if self.total.shape != other.total.shape or self.patch != other.patch:
            raise ShapeError(
                f"got patches {self.patch} of {len(self.total)} groups and {other.patch} of "
                f"{len(other.total)}, expected maps of equal channels; show images of one kind"
            )
        return SeenPatches(
            self.count + other.count,
            self.total + other.total,
            self.second + other.second,
            self.patch,
        )

    @own_settings()
    def basis(self) -> PatchBasis:
        r"""Return the principal components of the patches about their mean.

        With several groups, the covariance is the mean of those of the groups, each about its own
        mean patch: :math:`C = \frac1g \sum_j (M_j / n - \mu_j \mu_j^\top)`.

        Raises and warns as :meth:`PatchMoments.basis` does.
        """
        mean = self.total / self.count
        covariances = self.second / self.count - mean[:, :, None] * mean[:, None, :]
        groups = len(mean)
        return replace(
            basis_from_moments(
                covariances.mean(0), mean.mean(0), self.patch, True, self.count * groups
            ),
            products=frozenset({"float64"}),
        )


@own_settings()
def seen_patches(maps: Tensor, window: Window) -> SeenPatches | None:
    """Return the moments of the patches that a layer sees in a batch of maps.

    Products are of float64 numbers. Memory is that of :data:`CHUNK_BYTES`.

    Parameters
    ----------
    maps : (n, c, h, w), the input of the layer

    Returns
    -------
    SeenPatches, ``None`` for a batch of no images

    Raises
    ------
    ShapeError
        For maps of other than four dimensions, or smaller than a patch.
    DataError
        For NaN or infinite values.
    """
    if maps.ndim != 4 or maps.shape[1] % window.groups:
        raise ShapeError(
            f"got maps of shape {tuple(maps.shape)}, expected (n, c, h, w) with channels in "
            f"{window.groups} groups; name another layer"
        )
    if len(maps) == 0:
        return None
    _check_size(maps, window)
    channels = maps.shape[1] // window.groups
    size = channels * window.size[0] * window.size[1]
    total = torch.zeros(window.groups, size, dtype=torch.float64)
    second = torch.zeros(window.groups, size, size, dtype=torch.float64)
    count = 0
    pixels = maps[0].numel() * window.size[0] * window.size[1]
    for part in maps.detach().split(max(1, CHUNK_BYTES // (8 * pixels))):
        patches = patches_of(part.to(device="cpu", dtype=torch.float64), window)
        count += patches.shape[2]
        total += patches.sum(2)
        _add_products(second, patches)
    if not (torch.isfinite(total).all() and torch.isfinite(second).all()):
        raise DataError(
            "the input of the layer holds NaN or infinite values, expected finite ones; check the "
            "weights and the normalization of the images"
        )
    return SeenPatches(count, total, second, (channels, *window.size))


def _add_products(second: Tensor, patches: Tensor) -> None:
    """Add the products (g, d, d) of patches (g, d, n), computing each pair of blocks once."""
    size = patches.shape[1]
    step = max(MIN_BLOCK, -(-size // 4))
    for start in range(0, size, step):
        rows = slice(start, start + step)
        products = patches[:, rows] @ patches[:, start:].mT
        second[:, rows, start:] += products
        second[:, start + step :, rows] += products[:, :, step:].mT


def patches_of(maps: Tensor, window: Window) -> Tensor:
    """Return the patches (g, d, n) of maps, of all images and places."""
    if any(window.padding):
        maps = F.pad(maps, list(window.padding), mode=window.mode)
    columns = F.unfold(maps, window.size, window.dilation, 0, window.stride)
    grouped = columns.view(len(maps), window.groups, -1, columns.shape[2])
    return grouped.permute(1, 2, 0, 3).flatten(2)


def _check_size(maps: Tensor, window: Window) -> None:
    """Refuse maps that are smaller than a patch."""
    left, right, top, bottom = window.padding
    height, width = maps.shape[2] + top + bottom, maps.shape[3] + left + right
    needed = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.size, strict=True)]
    if height < needed[0] or width < needed[1]:
        raise ShapeError(
            f"got maps of {height}x{width}, which have no place for a patch of "
            f"{needed[0]}x{needed[1]}, expected larger ones; show larger images, or take "
            "places='seen', which has the padding of the layer"
        )
