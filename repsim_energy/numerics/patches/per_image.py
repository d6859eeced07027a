"""What each image holds of each component: its average patch, its patch energies, its class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.patches.moments import check_batch, pixel_unit
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "average_patches",
    "average_shuffled_patches",
    "class_correlations",
    "component_energies",
]

BATCH = 256
"""Images that are held in float64 at once."""


@takes_arrays
@own_settings()
def average_patches(images: Tensor, patch: tuple[int, int]) -> Tensor:
    r"""Return each image's average patch, :math:`\bar p(x) = \frac1J \sum_j p_j(x)`.

    Source: Chowers & Weiss (2023), Appendix A, Equation 8.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw)

    Returns
    -------
    (n, d) float64 with d = c * kh * kw, flattened channel-first, on the device of the images

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
    r"""Return average patches of images that got the patches of the whole set at random.

    Patches of one image are then uncorrelated with each other, as Theorem 4.2 assumes, while the
    second moment of all patches stays as it is.

    Source: Chowers & Weiss (2023), Appendix A.

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    patch : (kh, kw)
    seed : of the distribution of patches over images; each image gets as many as it had

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
    parts = owners.split(BATCH * places)
    for values, part in zip(_in_float64(images), parts, strict=True):
        totals.index_add_(0, part, F.unfold(values.cpu(), patch).transpose(1, 2).reshape(-1, d))
    return (totals / places).to(images.device)


@takes_arrays
@own_settings()
def component_energies(images: Tensor, basis: PatchBasis) -> Tensor:
    r"""Return each image's total patch energy along each component.

    .. math:: E_i(x) = \sum_j (u_i^\top (p_j(x) - \mu))^2

    Source: Chowers & Weiss (2023), Appendix D.1 (where the mean patch :math:`\mu` is zero).

    Parameters
    ----------
    images : (n, c, h, w) uint8 (read as 0..1) or float
    basis : the components; an uncentered basis leaves the mean patch in

    Returns
    -------
    (n, d) float64, pixel value squared, one column per component

    Raises
    ------
    ShapeError
        Where the images do not have the patches of the basis.
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
    return torch.cat(
        [F.conv2d(v, filters, offset).square().sum((2, 3)) for v in _in_float64(images)]
    )


@takes_arrays
@own_settings()
def class_correlations(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    r"""Return the Pearson correlation of each class, one against all, with each column.

    Source: Chowers & Weiss (2023), Figure 5.

    Parameters
    ----------
    values : (n, m), such as average patches along components, or patch energies
    labels : (n,) class numbers
    classes : how many classes there are

    Returns
    -------
    (classes, m) float64; NaN for a class without images, or a constant column

    Raises
    ------
    ShapeError
        For labels that do not belong to the rows.
    DataError
        For labels that are no numbers of classes.

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
    return (part.double() * unit for part in images.split(BATCH))
