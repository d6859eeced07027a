"""Patch bases of the data sets of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from repsim_energy.comparison.examined import Patch
from repsim_energy.comparison.plan import Plan
from repsim_energy.errors import ShapeError
from repsim_energy.interfaces import ImageSet, PatchBasis
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments

if TYPE_CHECKING:
    import torch

__all__ = ["basis_of_images", "patch_bases"]


def patch_bases(
    plan: Plan, moments_of: Callable[[torch.Tensor, tuple[int, int]], PatchMoments] = patch_moments
) -> list[PatchBasis]:
    """Return the patch basis of each data set. Data sets with the same images share one."""
    (d, m), patch = next(iter(plan.patches.items()))
    for (_, other), shape in plan.patches.items():
        if shape != patch:
            raise ShapeError(
                f"'{plan.models[m].label}' sees {_size(patch)} patches and "
                f"'{plan.models[other].label}' {_size(shape)}, which have no components in common; "
                "compare models of one patch shape at a time"
            )
    bases: dict[str, PatchBasis] = {}
    for data in plan.datasets:
        images = data.train
        if images.image_fingerprint not in bases:
            bases[images.image_fingerprint] = basis_of_images(images, patch[1:], moments_of)
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


def _size(patch: Patch) -> str:
    c, kh, kw, rows, columns = patch
    return f"{kh}x{kw}x{c}" + (f" (dilated by {rows}x{columns})" if rows * columns > 1 else "")
