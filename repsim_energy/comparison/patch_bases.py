"""Patch bases of the data sets of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from repsim_energy.comparison.common_patch import check_patches
from repsim_energy.comparison.plan import Plan
from repsim_energy.interfaces import ImageSet, PatchBasis
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments

if TYPE_CHECKING:
    import torch

__all__ = ["basis_of_images", "patch_bases"]


def patch_bases(
    plan: Plan,
    moments_of: Callable[[torch.Tensor, tuple[int, int]], PatchMoments] = patch_moments,
    patch: tuple[int, int] | None = None,
) -> list[PatchBasis]:
    """Return the patch basis of each data set. Data sets with the same images share one.

    Parameters
    ----------
    patch : rows and columns of the patches; by default those of the filters

    Raises
    ------
    ShapeError
        For filters that differ in size, or do not fit into the patches.
    """
    check_patches(plan, patch)
    size = next(iter(plan.patches.values()))[1:] if patch is None else (*patch, 1, 1)
    bases: dict[str, PatchBasis] = {}
    for data in plan.datasets:
        images = data.train
        if images.image_fingerprint not in bases:
            bases[images.image_fingerprint] = basis_of_images(images, size, moments_of)
    return [bases[data.train.image_fingerprint] for data in plan.datasets]


def basis_of_images(
    images: ImageSet,
    patch: tuple[int, int, int, int],
    moments_of: Callable[[torch.Tensor, tuple[int, int]], PatchMoments] = patch_moments,
) -> PatchBasis:
    """Return the patch basis of images.

    Parameters
    ----------
    patch : (kh, kw, rows, columns), with the dilation of the filters
    """
    kh, kw, rows, columns = patch
    window = (rows * (kh - 1) + 1, columns * (kw - 1) + 1)
    basis = moments_of(images.images, window).every(rows, columns).basis()
    return basis if images.transform is None else transform_basis(basis, images.transform)
