"""Patch bases of the data sets of a comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add

import torch

from repsim_energy.comparison.common_patch import check_patches
from repsim_energy.comparison.plan import Plan
from repsim_energy.data.basis_cache import bases_key, keep_bases, stored_bases
from repsim_energy.errors import DataError, RepsimWarning
from repsim_energy.interfaces import ImageSet, PatchBasis
from repsim_energy.numerics.inference.half_samples import half_samples, random_groups
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
from repsim_energy.numerics.threads import one_thread
from repsim_energy.scheduling.chunks import moments_of_groups, moments_of_images
from repsim_energy.scheduling.schedulers import Scheduler

__all__ = ["Bases", "KnownBases", "basis_of_images", "patch_bases"]


@dataclass(frozen=True, eq=False)
class Bases:
    """Patch bases of one set of images.

    Parameters
    ----------
    whole : of all images
    halves : of the half-samples of the images, empty without any
    """

    whole: PatchBasis
    halves: Sequence[PatchBasis] = ()


KnownBases = dict[tuple[object, ...], Bases]
"""Bases by fingerprint of the images, size of the patches and number of groups."""


def patch_bases(
    plan: Plan,
    scheduler: Scheduler,
    groups: int = 0,
    patch: tuple[int, int] | None = None,
    known: KnownBases | None = None,
) -> list[Bases]:
    """Return the patch bases of each data set. Data sets with the same images share them.

    Parameters
    ----------
    groups : number of groups of images that half-samples are made of, 0 for none
    patch : rows and columns of the patches; by default those of the filters
    known : bases that are not computed again; new ones are added

    Raises
    ------
    ShapeError
        For filters that differ in size, or do not fit into the patches.
    """
    check_patches(plan, patch)
    size = next(iter(plan.patches.values()))[1:] if patch is None else (*patch, 1, 1)
    bases: KnownBases = {} if known is None else known
    found = []
    for images in (data.train for data in plan.datasets):
        key = (images.image_fingerprint, size, groups)
        if key not in bases:
            bases[key] = _bases(images, size, scheduler, groups)
        found.append(bases[key])
    return found if all(one.halves for one in found) else [Bases(one.whole) for one in found]


def _bases(
    images: ImageSet, patch: tuple[int, int, int, int], scheduler: Scheduler, groups: int
) -> Bases:
    """Return the basis of all images and those of half-samples, stored or measured."""
    key = bases_key(images, patch, groups)
    if key and (stored := stored_bases(key)):
        return Bases(stored[0], stored[1:])
    bases = _measured(images, patch, scheduler, groups)
    if key:
        keep_bases(key, [bases.whole, *bases.halves])
    return bases


def _measured(
    images: ImageSet, patch: tuple[int, int, int, int], scheduler: Scheduler, groups: int
) -> Bases:
    """Return the basis of all images, and those of half-samples if they have enough patches."""
    moments_of = partial(moments_of_images, scheduler)
    if not groups:
        return Bases(basis_of_images(images, patch, moments_of))
    window = _window(patch)
    parts = moments_of_groups(
        scheduler, images.images, window, random_groups(len(images.images), groups)
    )
    exact = images.images.dtype == torch.uint8  # in any order of adding
    moments = reduce(add, parts) if exact else moments_of(images.images, window)
    whole = _basis(moments, images, patch)
    halves = []
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore", RepsimWarning)  # which the whole has given
        try:
            for half in half_samples(groups):
                chosen = (part for part, inside in zip(parts, half, strict=True) if inside)
                halves.append(_basis(reduce(add, chosen), images, patch))
        except DataError:  # fewer patches than components, or constant images
            return Bases(whole)
    return Bases(whole, halves)


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
    return _basis(moments_of(images.images, _window(patch)), images, patch)


def _window(patch: tuple[int, int, int, int]) -> tuple[int, int]:
    """Return rows and columns of the patches of an image that contain those of dilated filters."""
    kh, kw, rows, columns = patch
    return (rows * (kh - 1) + 1, columns * (kw - 1) + 1)


def _basis(moments: PatchMoments, images: ImageSet, patch: tuple[int, int, int, int]) -> PatchBasis:
    """Return the basis of the patches with these moments, transformed as those of the images."""
    basis = moments.every(*patch[2:]).basis()
    return basis if images.transform is None else transform_basis(basis, images.transform)
