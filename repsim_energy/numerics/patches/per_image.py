"""Quantities per image: average patch, energy along each component, correlation with classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.patches.batches import check_batch, pixel_unit
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import working

if TYPE_CHECKING:
    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "average_patches",
    "average_shuffled_patches",
    "class_correlations",
    "component_energies",
]

BATCH_IMAGES = 256
"""Images that are converted to float64 at once."""


@takes_arrays
@own_settings()
def average_patches(images: Tensor, patch: tuple[int, int]) -> Tensor:
    r"""Return the average patch of each image.

    .. math:: \bar p(x) = \frac1J \sum_{j=1}^J p_j(x)

    over the J overlapping patches of image x.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Appendix A, Equation 8; arXiv:2206.02454.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw)

    Returns
    -------
    (n, d) float64 with d = c * kh * kw, flattened channel-first, on the device of the images

    Raises
    ------
    ShapeError
        For images that are not (n, c, h, w), or smaller than the patch.
    DataError
        For complex numbers, and what is no array of numbers.

    Examples
    --------
    >>> average_patches(torch.arange(16.0).reshape(1, 1, 4, 4), (2, 2)).tolist()
    [[5.0, 6.0, 9.0, 10.0]]
    """
    check_batch(images, patch)
    height, width = images.shape[2:]
    places = (height - patch[0] + 1, width - patch[1] + 1)
    averages = [F.avg_pool2d(values, places, stride=1) for values in _in_float64(images)]
    return torch.cat(averages).flatten(1)


@takes_arrays
@own_settings()
def average_shuffled_patches(images: Tensor, patch: tuple[int, int], *, seed: int = 0) -> Tensor:
    r"""Return the average patch of each image after shuffling all patches across images.

    Patches of one image are then uncorrelated, as Theorem 4.2 assumes, and the second moment of all
    patches does not change.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Appendix A; arXiv:2206.02454.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw)
    seed : of the random order; each image has as many patches as before

    Returns
    -------
    (n, d) float64 with d = c * kh * kw, flattened channel-first
    """
    check_batch(images, patch)
    places = (images.shape[2] - patch[0] + 1) * (images.shape[3] - patch[1] + 1)
    generator = torch.Generator().manual_seed(seed)
    owners = torch.randperm(len(images) * places, generator=generator, device="cpu") // places
    d = images.shape[1] * patch[0] * patch[1]
    totals = torch.zeros(len(images), d, dtype=torch.float64)
    parts = owners.split(BATCH_IMAGES * places)
    for values, part in zip(_in_float64(images), parts, strict=True):
        totals.index_add_(0, part, F.unfold(values.cpu(), patch).transpose(1, 2).reshape(-1, d))
    return (totals / places).to(images.device)


@takes_arrays
@own_settings()
def component_energies(images: Tensor, basis: PatchBasis) -> Tensor:
    r"""Return the energy of the patches of each image along each principal component.

    .. math:: E_i(x) = \sum_j (u_i^\top (p_j(x) - \mu))^2

    summed over the patches :math:`p_j` of image x, with the mean patch :math:`\mu` of the basis.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Appendix D.1, where the mean patch is zero; arXiv:2206.02454.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    basis : r principal components of patches. For a basis with ``centered=False``,
        :math:`\mu` is zero

    Returns
    -------
    (n, r) float64, in units of pixel values squared

    Raises
    ------
    ShapeError
        For images that do not have the patches of the basis.
    DataError
        For complex numbers, and what is no array of numbers.

    Examples
    --------
    >>> from repsim_energy import patch_moments
    >>> images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> basis = patch_moments(images, (2, 2)).basis()
    >>> energies = component_energies(images, basis)
    >>> torch.allclose(energies.sum(0) / (20 * 7 * 7), basis.eigenvalues)
    True
    """
    check_batch(images, basis.patch[1:])
    if images.shape[1] != basis.patch[0]:
        raise ShapeError(
            f"images have {images.shape[1]} channels but the basis sees {basis.patch[0]}; "
            "fit the basis on images of the same kind"
        )
    components, mean = (numbers.to(images.device) for numbers in (basis.components, basis.mean))
    filters = components.view(-1, *basis.patch)
    offset = -components @ mean if basis.centered else None
    energies = torch.cat(
        [F.conv2d(v, filters, offset).square().sum((2, 3)) for v in _in_float64(images)]
    )
    if not energies.isfinite().all():
        raise DataError("images hold numbers whose squares are infinite; scale them")
    return energies


@takes_arrays
@own_settings()
def class_correlations(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    r"""Return the Pearson correlation of the membership in each class with each column.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Figure 5; arXiv:2206.02454.

    Parameters
    ----------
    values : (n, m), such as average patches along components, or energies
    labels : (n,) class numbers
    classes : how many classes there are

    Returns
    -------
    (classes, m) float64; NaN for a class without images, or a constant column

    Raises
    ------
    ShapeError
        For labels that are not one for each row.
    DataError
        For labels that are not whole numbers from 0 to ``classes`` - 1.

    Examples
    --------
    >>> class_correlations(torch.tensor([[0.0], [0.0], [3.0]]), torch.tensor([0, 0, 1]), 2).tolist()
    [[-1.0], [1.0]]
    """
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise ShapeError(
            f"values have shape {tuple(values.shape)} and labels {tuple(labels.shape)}, expected "
            "(n, m) and (n,)"
        )
    labels = labels.to(values.device)
    if labels.is_floating_point() or not all(0 <= int(one) < classes for one in labels.unique()):
        raise DataError(
            f"labels are {labels.dtype} with values {labels.unique().tolist()[:5]}, expected whole "
            f"numbers from 0 to {classes - 1}"
        )
    member = F.one_hot(labels.to(torch.int64), classes).double()
    member, values = member - member.mean(0), values.double() - values.double().mean(0)
    norms = torch.outer(member.norm(dim=0), values.norm(dim=0))
    correlation: Tensor = (member.T @ values / norms).clamp(-1.0, 1.0)
    varies = member.amax(0).gt(member.amin(0))[:, None] & values.amax(0).gt(values.amin(0))
    return torch.where(varies, correlation, torch.nan)


def _in_float64(images: Tensor) -> Iterator[Tensor]:
    unit = pixel_unit(images)
    with working("measuring patches of each image", len(images), "images") as advance:
        for part in images.split(BATCH_IMAGES):
            if not part.isfinite().all():
                raise DataError("images hold NaN or infinite values, expected finite ones")
            yield part.double() * unit
            advance(len(part))
