"""Moments of all patches of a set of images: count, sum and second moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.numerics.patches.basis import RESOLUTION, basis_from_moments
from repsim_energy.numerics.patches.batches import (
    batches_of,
    check_batch,
    no_images,
    pixel_unit,
)
from repsim_energy.numerics.patches.scaled_bytes import value_sums
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from repsim_energy.interfaces import PatchBasis
    from repsim_energy.numerics.patches.batches import Images

__all__ = ["PatchMoments", "patch_moments"]

FLOAT32_RESOLUTION = 2.0**-25
"""Relative rounding of a covariance from float32 products. Measured on 20 to 5,170 gray images in
channels of different brightness, it is at most 1e-8 of the patches' mean square."""


@dataclass(frozen=True, eq=False)
class PatchMoments:
    r"""Count, sum and second moment of patches.

    .. math:: n,\quad s = \sum_j p_j,\quad M = \sum_j p_j p_j^\top

    Moments of two sets of patches are added with ``+``.

    Parameters
    ----------
    count : n, the number of patches
    total : (d,) float64, s in units of ``unit``
    second : (d, d) float64, M in units of ``unit`` squared
    patch : (c, kh, kw) with d = c * kh * kw, flattened channel-first
    unit : the pixel value that 1 stands for: 1/255 for uint8 images, 1 for float images. Moments of
        uint8 images are thus whole numbers. Up to 2**53 they are exact, in any order of adding.
    products : the number types of the matrix products: ``int8``, ``float32`` or ``float64``;
        several where one failed its check on this machine

    Examples
    --------
    >>> images = torch.arange(64, dtype=torch.uint8).reshape(4, 1, 4, 4)
    >>> parts = patch_moments(images[:3], (3, 3)) + patch_moments(images[3:], (3, 3))
    >>> parts.count, round(parts.mean[0].item() * 255, 6)
    (16, 26.5)
    """

    count: int
    total: Tensor
    second: Tensor
    patch: tuple[int, int, int]
    unit: float = 1.0
    products: frozenset[str] = frozenset()

    __repr__ = short_repr

    @own_settings()
    def __add__(self, other: PatchMoments) -> PatchMoments:
        """Return the moments of both sets of patches together."""
        if not isinstance(other, PatchMoments):
            return NotImplemented
        if self.patch != other.patch or self.unit != other.unit:
            raise ShapeError(
                f"moments of patch {self.patch} in units of {self.unit:.4g} cannot merge with "
                f"patch {other.patch} in units of {other.unit:.4g}; "
                "take both from images of one type with one patch"
            )
        return PatchMoments(
            self.count + other.count,
            self.total + other.total,
            self.second + other.second,
            self.patch,
            self.unit,
            self.products | other.products,
        )

    @property
    @own_settings()
    def mean(self) -> Tensor:
        """The mean patch, (d,) float64."""
        return self.total * (self.unit / self.count)

    @own_settings()
    def covariance(self, *, center: bool = True) -> Tensor:
        r"""Return the covariance of the patches, :math:`M/n - \mu\mu^\top`.

        Parameters
        ----------
        center : False returns the second moment :math:`M/n`

        Returns
        -------
        (d, d) float64
        """
        second = self.second / self.count
        if center:
            mean = self.total / self.count
            second = second - torch.outer(mean, mean)
        return second * self.unit**2

    @own_settings()
    def every(self, rows: int, columns: int) -> PatchMoments:
        """Return the moments of the patches that a dilated filter sees.

        These are every ``rows``-th row and ``columns``-th column of the patches.

        Parameters
        ----------
        rows, columns : the dilation; 1 keeps all

        Examples
        --------
        >>> moments = patch_moments(torch.rand(2, 1, 8, 8), (5, 3))
        >>> moments.every(2, 1).patch
        (1, 3, 3)
        """
        pixels = torch.arange(len(self.total)).view(self.patch)[:, ::rows, ::columns]
        c, kh, kw = pixels.shape
        pixels = pixels.flatten()
        total, second = self.total[pixels], self.second[pixels][:, pixels]
        return replace(self, total=total, second=second, patch=(c, kh, kw))

    def basis(self, *, center: bool = True) -> PatchBasis:
        """Return the principal components of the patches, without those that have no variance.

        Parameters
        ----------
        center : False leaves the mean patch in

        Raises
        ------
        DataError
            For no more patches than components, or patches without any variance.

        Warns
        -----
        RepsimWarning
            Where components without variance are left out.
        """
        exact = self.unit != 1.0 or "float32" not in self.products
        covariance = self.covariance(center=center)
        basis = basis_from_moments(
            covariance,
            self.mean,
            self.patch,
            center,
            self.count,
            RESOLUTION if exact else FLOAT32_RESOLUTION,
        )
        return replace(basis, products=self.products)


def patch_moments(images: Images | Iterable[Any], patch: tuple[int, int]) -> PatchMoments:
    r"""Return the moments of all overlapping patches of images.

    .. math:: n,\quad s = \sum_j p_j,\quad M = \sum_j p_j p_j^\top

    over the patches :math:`p_j` at all positions inside all images: stride 1, no padding.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Definitions 2.1 and 4.1; arXiv:2206.02454.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float, a tensor or an array, which may be mapped
        from a file; or an iterable of such batches, each alone or first in a tuple, as from a
        DataLoader. Memory does not grow with the number of images.
    patch : (kh, kw) in pixels

    Returns
    -------
    PatchMoments
        On the CPU. Those of uint8 images are exact, for any number of threads and any split into
        batches, and so are those of float images that are bytes divided by 255. Those of other
        float images are summed in float64, from products in the precision of the images, or float32
        for half precision.

    Raises
    ------
    ShapeError
        For images that are not (n, c, h, w), or smaller than the patch.
    DataError
        For no images, NaN or infinite values.
    UsageError
        For something that holds no images, such as a path or a mapping.
    RepsimError
        Where all available matrix products give wrong results on this machine.

    Warns
    -----
    RepsimWarning
        Once, where the fastest matrix product gives wrong sums on this machine and another one is
        used, which ``PatchMoments.products`` names.

    Examples
    --------
    >>> images = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> moments = patch_moments(images, (3, 3))
    >>> moments.count, moments.mean[0].item()
    (4, 2.5)
    """
    self_check()
    parts = (_moments_of_batch(batch, patch) for batch in batches_of(images))
    moments = next((part for part in parts if part is not None), None)
    if moments is None:
        raise no_images()
    for part in parts:
        if part is not None:
            moments = moments + part
    return moments


@own_settings()
def _moments_of_batch(batch: Tensor, patch: tuple[int, int]) -> PatchMoments | None:
    check_batch(batch, patch)
    if len(batch) == 0:
        return None
    total, second, products = value_sums(batch, patch)
    total, second = total.cpu(), second.cpu()
    if not (torch.isfinite(total).all() and torch.isfinite(second).all()):
        raise DataError("images hold NaN or infinite values, expected finite ones; clean them")
    channels, height, width = batch.shape[1:]
    places = (height - patch[0] + 1) * (width - patch[1] + 1)
    return PatchMoments(
        len(batch) * places,
        total,
        second,
        (channels, *patch),
        pixel_unit(batch),
        frozenset(products),
    )
