"""Variants that stand on the principal components of the training images' patches."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from repsim_energy.errors import DataError, UsageError
from repsim_energy.interfaces import ImageSet, PatchBasis, PatchTransform
from repsim_energy.numerics.patches.moments import patch_moments, pixel_unit
from repsim_energy.numerics.patches.per_image import average_patches, component_energies
from repsim_energy.numerics.patches.tiles import tile_patches

__all__ = ["alpha_scaled", "check_component", "pca_labels"]

CLASSES = 10

_energies: dict[tuple[str, str, int], Tensor] = {}
"""The last two splits' patch energies, which the labels of all components share."""


def pca_labels(images: ImageSet, train: ImageSet, *, component: int, patch: int = 3) -> ImageSet:
    """Return the images labeled by decile of their total patch energy along one component.

    Label 0 is the tenth of the training images with the most energy. The deciles are of equal
    size (within one image); of images with equal energy the earlier one counts as having more.
    Test images are labeled by the same limits of energy.

    Source: Chowers & Weiss (2023), section 5 and Appendix D.1.

    Parameters
    ----------
    component : which principal component of the training patches, 0 has the largest variance
    patch : height and width of the patches
    """
    if len(train) < CLASSES:
        raise DataError(
            f"'{train.name}' has {len(train)} training images, expected at least {CLASSES} for "
            "ten deciles; raise limit="
        )
    of_train = _along(train, train, component, patch)
    if images is train:
        rank = torch.argsort(torch.argsort(of_train, descending=True, stable=True))
        labels = rank * CLASSES // len(train)
    else:
        last = -(-torch.arange(1, CLASSES) * len(train) // CLASSES) - 1
        limits = of_train.sort(descending=True).values[last]
        labels = (_along(images, train, component, patch)[:, None] < limits).sum(1)
    names = tuple(f"decile {number}" for number in range(1, CLASSES + 1))
    name = f"{images.name}+pca_labels{component}"
    return replace(images, labels=labels, classes=names, name=name)


def _along(images: ImageSet, train: ImageSet, component: int, patch: int) -> Tensor:
    """Return the images' energies along a component of the training patches."""
    key = (images.image_fingerprint, train.image_fingerprint, patch)
    if key not in _energies:
        basis = _basis(train, patch)
        while len(_energies) > 1:
            del _energies[next(iter(_energies))]
        _energies[key] = component_energies(images.images, basis)
    energies = _energies[key]
    check_component(component, energies.shape[1], patch)
    return energies[:, component]


def _basis(train: ImageSet, patch: int) -> PatchBasis:
    if patch < 1:
        raise UsageError(f"patch is {patch}, expected pixels, at least 1")
    return patch_moments(train.images, (patch, patch)).basis()


def check_component(component: int, count: int, patch: int) -> None:
    """Refuse a component that patches with so many components do not have."""
    if not 0 <= component < count:
        raise UsageError(
            f"component is {component} but {patch}x{patch} patches of these images have {count}, "
            f"expected 0 to {count - 1}"
        )


def alpha_scaled(
    images: ImageSet,
    train: ImageSet,
    *,
    component: int,
    alpha: float,
    patch: int = 3,
    tiles: bool = False,
) -> ImageSet:
    """Return the images with every overlapping patch scaled along one principal component.

    The patch p becomes p + (alpha - 1) u uᵀ (p - mean color): its variance along u grows by
    alpha squared. Networks see each changed patch once, through a first layer of stride 1 without
    padding that applies its filters to changed patches; no larger images are made for it.

    Source: Chowers & Weiss (2023), section 5 and Appendix D.2, Equation 25.

    Parameters
    ----------
    component : which principal component of the training patches, 0 has the largest variance
    alpha : the factor along it, above 0
    patch : height and width of the patches, which have to be those of the first layer
    tiles : write the changed patches side by side, as float images patch*patch times as large,
        for use elsewhere with a first layer of stride ``patch`` without padding; normalize them
        as the images were, for their own standard deviation is another
    """
    if not 0 < alpha < math.inf:
        raise UsageError(f"alpha is {alpha}, expected a finite factor above 0")
    basis = _basis(train, patch)
    check_component(component, len(basis.eigenvalues), patch)
    u = basis.components[component]
    matrix = torch.eye(len(u), dtype=u.dtype) + (alpha - 1) * torch.outer(u, u)
    if images.transform is not None:
        if images.transform.patch != basis.patch:
            raise UsageError(
                f"alpha_scaled got patch={patch} after patches of {images.transform.patch[1]}, "
                "expected one patch size in a chain"
            )
        matrix = matrix @ images.transform.matrix
    transform = PatchTransform(matrix, basis.patch)
    name = f"{images.name}+alpha_scaled{component}"
    if not tiles:
        return replace(images, name=name, transform=transform)
    return replace(images, images=_tiled(images, train, transform), name=name, transform=None)


def _tiled(images: ImageSet, train: ImageSet, transform: PatchTransform) -> Tensor:
    unit = pixel_unit(images.images)
    color = average_patches(train.images, (1, 1)).mean(0).view(-1, 1, 1)
    parts = [
        tile_patches(part.double() * unit - color, transform) + color
        for part in images.images.split(256)
    ]
    return torch.cat([part.float() for part in parts])
