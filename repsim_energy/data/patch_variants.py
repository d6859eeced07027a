"""Variants defined by the principal components of the training images' patches."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from repsim_energy.errors import DataError, UsageError
from repsim_energy.interfaces import ImageSet, PatchBasis, PatchTransform
from repsim_energy.numerics.patches.batches import pixel_unit
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.patches.per_image import average_patches, component_energies
from repsim_energy.numerics.patches.tiles import tile_patches

__all__ = ["alpha_scaled", "check_component", "pca_labels"]

CLASSES = 10
BLOCK_IMAGES = 256
MAX_STORED_ENERGIES = 2

_energies: dict[tuple[str, str, int], Tensor] = {}
"""(image fingerprint, training image fingerprint, patch) -> (n, components) patch energies.

The labels of all components need the same ones; those of the last two splits are stored.
"""


def pca_labels(images: ImageSet, train: ImageSet, *, component: int, patch: int = 3) -> ImageSet:
    """Label the images by decile of their total patch energy along one component.

    Label 0 is the tenth of the training images with the most energy. The deciles have equal
    sizes (within one image). Of images with equal energy, the earlier one ranks higher. Test
    images are labeled by the energies that separate the deciles of the training images.

    Source: Chowers & Weiss (2023), section 5 and Appendix D.1.

    Parameters
    ----------
    component : index of the principal component of the training patches, by falling variance
    patch : height and width of the patches in pixels
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
    """Return the (n,) energies of images along a component of the training patches."""
    key = (images.image_fingerprint, train.image_fingerprint, patch)
    if key not in _energies:
        basis = _basis(train, patch)
        while len(_energies) >= MAX_STORED_ENERGIES:
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
    """Raise ``UsageError`` unless 0 <= component < count."""
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
    """Scale every overlapping patch along one principal component.

    The patch p becomes p + (alpha - 1) u uᵀ (p - mean color), so that its variance along u grows
    by alpha squared. The images themselves are not changed: the first layer, of stride 1 without
    padding, applies its filters to the changed patches.

    Source: Chowers & Weiss (2023), section 5 and Appendix D.2, Equation 25.

    Parameters
    ----------
    component : index of the principal component of the training patches, by falling variance
    alpha : factor along it, above 0
    patch : height and width of the patches in pixels, equal to those of the first layer
    tiles : write the changed patches side by side, as float images patch*patch times as large,
        for use elsewhere with a first layer of stride ``patch`` without padding. Normalize them
        with mean and standard deviation of the unchanged images
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
        for part in images.images.split(BLOCK_IMAGES)
    ]
    return torch.cat([part.float() for part in parts])
